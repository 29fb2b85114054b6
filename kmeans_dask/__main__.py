"""`python -m kmeans_dask`."""

from kmeans_dask.cli import main

if __name__ == "__main__":
    main()
