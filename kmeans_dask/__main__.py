"""`python -m kmeans_dask`."""

import os
import sys

# Where modules may lie among images: from here on none is looked for there.
if not sys.flags.safe_path and sys.path[:1] == [os.path.abspath(os.curdir)]:  # noqa: PTH100
    del sys.path[0]

from kmeans_dask.cli import main

if __name__ == "__main__":
    main()
