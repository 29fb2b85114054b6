"""Submit `kmeans-dask compress` to a Dask cluster; README.md here says how."""

from kmeans_dask.cli.submit import submit

if __name__ == "__main__":
    submit("compress")
