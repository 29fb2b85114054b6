"""Submit `kmeans-dask compress` to a Dask cluster.

    python jobs/compress.py /data/photos /data/out --colors 64 --scheduler tcp://scheduler:8786

Takes what the command takes, but never starts a cluster of its own: without `--scheduler` or
DASK_SCHEDULER_ADDRESS it ends at once, with exit code 2. Input and output must be on file
systems that every worker sees under the same paths.
"""

from __future__ import annotations

import os
import sys

from kmeans_dask.cli import main

if __name__ == "__main__":
    asked = [arg for arg in sys.argv[1:] if arg.split("=")[0] in ("--scheduler", "--help", "-h")]
    if not asked and not os.environ.get("DASK_SCHEDULER_ADDRESS"):
        sys.stderr.write("compress.py: name a cluster: --scheduler or DASK_SCHEDULER_ADDRESS\n")
        sys.exit(2)
    sys.argv[1:1] = ["compress"]
    main()
