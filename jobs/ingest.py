"""Submit `kmeans-dask ingest` to a Dask cluster; README.md here says how."""

from kmeans_dask.cli.submit import submit

if __name__ == "__main__":
    submit("ingest")
