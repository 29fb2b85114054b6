"""Random integers that are the same on every machine and with every version of numpy.

numpy keeps the raw bits of a seeded PCG64 the same for ever, but not what its `Generator` makes
of them. So only raw bits are used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Random:
    """Seeded source of random integers.

    >>> random = Random(0)
    >>> [random.below(100) for _ in range(5)]
    [63, 4, 81, 60, 54]
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def below(self, n: int) -> int:
        """Return a uniform integer in [0, n), for 0 < n < 2^64 (bias below n / 2^128)."""
        raw = (int(self._bits.random_raw()) << 64) | int(self._bits.random_raw())
        return (raw * n) >> 128

    def raw(self, n: int) -> NDArray[np.uint64]:
        """Return the next `n` raw integers, of which `below` takes two, the upper one first."""
        bits: NDArray[np.uint64] = self._bits.random_raw(n)
        return bits

    def fraction(self) -> float:
        """Return a uniform multiple of 2^-53 in [0, 1)."""
        return self.below(1 << 53) * 2.0**-53
