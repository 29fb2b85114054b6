"""What the tests of images share."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data


@pytest.fixture(scope="session")
def photograph() -> NDArray[np.uint8]:
    """(120, 160, 3) uint8: a face, skin, an orange suit and a flag."""
    astronaut: NDArray[np.uint8] = data.astronaut()  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(astronaut[40:160, 150:310])
