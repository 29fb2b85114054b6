"""`KMeans` for NumPy, Dask and Zarr arrays, and the distributed sums of each iteration."""
