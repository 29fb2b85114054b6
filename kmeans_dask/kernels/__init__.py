"""Numba: how it is configured, where its compiled kernels are cached, and which it trusts."""
