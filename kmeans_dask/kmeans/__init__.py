"""Exact k-means on weighted points: histograms, seeding and Lloyd's algorithm.

This room knows NumPy and Numba alone: no image files, no store, no cluster.
"""
