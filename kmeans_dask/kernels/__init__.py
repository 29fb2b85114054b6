"""Compilation of kernels by numba: its settings, and a cache that reads only trusted files."""
