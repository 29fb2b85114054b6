"""Exact k-means on weighted points: histograms, seeding and Lloyd's algorithm.

This package depends on NumPy and Numba only: it knows no image files, no store and no cluster.
"""
