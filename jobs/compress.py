"""Submit `kmeans-dask compress` to a Dask cluster.

    python jobs/compress.py /data/photos /data/out --colors 64 --scheduler tcp://scheduler:8786

Takes what the command takes, but never starts a cluster of its own: without `--scheduler` or
DASK_SCHEDULER_ADDRESS it ends at once, with exit code 2. Input and output must be on file
systems that every worker sees under the same paths.
"""

from __future__ import annotations

import argparse
import os
import sys

from kmeans_dask.cli import main

if __name__ == "__main__":
    words = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    words.add_argument("--scheduler", default=os.environ.get("DASK_SCHEDULER_ADDRESS"))
    known, rest = words.parse_known_args()
    if not known.scheduler and not {"-h", "--help"} & set(rest):
        sys.stderr.write("compress.py: name a cluster: --scheduler or DASK_SCHEDULER_ADDRESS\n")
        sys.exit(2)
    sys.argv[1:] = ["compress", *rest, f"--scheduler={known.scheduler or ''}"]
    main()
