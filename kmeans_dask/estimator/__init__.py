"""`KMeans` for NumPy and Dask arrays, and the distributed sums that each iteration takes."""
