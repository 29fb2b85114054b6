"""Entry of scripts that run a command on a cluster, to which they are submitted: see jobs/."""

from __future__ import annotations

import sys

from kmeans_dask.cli import main
from kmeans_dask.cli.cluster_options import CLUSTER


def submit(command: str) -> None:
    """Run `command` with the words of this process on a running cluster, and exit."""
    main([command, *sys.argv[1:]], CLUSTER)
