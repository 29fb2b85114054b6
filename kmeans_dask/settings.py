"""What can be chosen, within which bounds, and what it is by default."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kmeans_dask.errors import UsageError

MAX_COLORS = 256  # an indexed PNG holds no more
INITS = ("k-means++", "random")
MAX_PIXELS = 89_478_485  # of one image; Pillow's own limit: a quarter of a gibibyte as RGB
PARTITION_PIXELS = 1 << 24  # about a second of decoding: many for each worker, none too small
CHUNK_COLORS = 1 << 22  # of which one Lloyd step takes about as long as a round over a cluster
WORKER_TIMEOUT = 60.0  # seconds


@dataclass(frozen=True)
class FitSettings:
    """How to fit. Raises UsageError where a value is out of range.

    colors: entries of the palette, one of them clear where images are transparent
    init: where to start, one of `INITS`
    tol: stop when the centroids' squared shift is at most this part of the colours' variance
    chunk_colors: with more distinct colours, each iteration is a round of one task per chunk
    """

    colors: int = MAX_COLORS
    seed: int = 0
    init: str = INITS[0]
    max_iter: int = 300
    tol: float = 1e-4
    chunk_colors: int = CHUNK_COLORS

    def __post_init__(self) -> None:
        if not 2 <= self.colors <= MAX_COLORS:
            raise UsageError(f"--colors is {self.colors}: choose 2 to {MAX_COLORS}")
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}: choose 0 or more")
        if self.init not in INITS:
            raise UsageError(f"--init is {self.init!r}: choose {' or '.join(INITS)}")
        if self.max_iter < 1:
            raise UsageError(f"--max-iter is {self.max_iter}: choose 1 or more")
        if not 0 <= self.tol < math.inf:
            raise UsageError(f"--tol is {self.tol}: choose 0 (to the fixed point) or more")
        if self.chunk_colors < 1:
            raise UsageError(f"chunk_colors is {self.chunk_colors}: choose 1 or more")
