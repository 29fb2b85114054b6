"""Entry point of `python -m kmeans_dask`, which is the command line."""

import os
import sys

# The current folder may hold any files: no module is imported from there.
if not sys.flags.safe_path and sys.path[:1] == [os.path.abspath(os.curdir)]:  # noqa: PTH100
    del sys.path[0]

from kmeans_dask.cli import main

if __name__ == "__main__":
    main()
