"""What the tests of images share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data


@pytest.fixture(autouse=True)
def _pillow_limit_as_it_was() -> Iterator[None]:
    """`decode` sets Pillow's global limit, which the tests' own `Image.open` would trip over."""
    before = Image.MAX_IMAGE_PIXELS
    yield
    Image.MAX_IMAGE_PIXELS = before


@pytest.fixture(scope="session")
def photograph() -> NDArray[np.uint8]:
    """(120, 160, 3) uint8: a face, skin, an orange suit and a flag."""
    astronaut: NDArray[np.uint8] = data.astronaut()  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(astronaut[40:160, 150:310])
