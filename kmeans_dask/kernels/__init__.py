"""Compilation of kernels by numba: its configuration, and its cache, which reads own files only."""
