"""Commands as scripts that are submitted to a cluster: see jobs/."""

from __future__ import annotations

import sys

from kmeans_dask.cli import main
from kmeans_dask.cli.cluster_options import CLUSTER


def submit(command: str) -> None:
    """Run `command` with this process's words on a cluster that is there, and exit."""
    main([command, *sys.argv[1:]], CLUSTER)
