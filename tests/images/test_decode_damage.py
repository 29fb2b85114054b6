"""Tests that damaged files are decoded or refused, and never fatal."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kmeans_dask.errors import ImageError
from kmeans_dask.images.decode import decode
from tests.images.colors import DISPLAY_P3
from tests.images.files import exif, saved, written
from tests.images.pixels import SMALL, alphas_of, pixels_of
from tests.images.profiles import rgb_profile


def small_images() -> dict[str, bytes]:
    """A file of each format, small enough to be cut at every byte."""
    y, x = np.mgrid[0:12, 0:17]
    image = Image.fromarray(np.stack([x * 15, y * 20, (x * y) % 256], axis=-1).astype(np.uint8))
    translucent = image.copy()
    translucent.putalpha(Image.fromarray((x * 16).clip(0, 255).astype(np.uint8)))
    return {
        "PNG": saved(image, "PNG", exif=exif(6), icc_profile=rgb_profile(DISPLAY_P3, 2.2)),
        "PNG with alpha": saved(translucent, "PNG", dpi=(72, 72)),
        "JPEG": saved(image, "JPEG", exif=exif(6)),
        "GIF": saved(image.quantize(16), "GIF", transparency=3),
        "TIFF": saved(image, "TIFF", compression="tiff_lzw", exif=exif(6)),
        "WEBP": saved(image, "WEBP", exif=exif(6)),
        "BMP": saved(image.quantize(16), "BMP"),
        "PPM": saved(image, "PPM"),
    }


SMALL_IMAGES = small_images()
Decoded = tuple[tuple[int, ...], bytes, bytes] | None


def decoded_or_refused(path: Path) -> Decoded:
    """The pixels, or None where the file is refused; any other exception is the test's failure."""
    try:
        decoded = decode(path, SMALL, flat=True, keep_metadata=True)
        pixels, alphas = pixels_of(decoded), alphas_of(decoded)
    except ImageError as error:
        reason = str(error)
    else:
        assert set(np.unique(alphas)) <= {0, 255}
        return pixels.shape, pixels.tobytes(), alphas.tobytes()
    assert reason.splitlines() == [reason]
    return None


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], Path]:
    path = tmp_path_factory.mktemp("damage") / "image"

    def write(content: bytes) -> Path:
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("kind", SMALL_IMAGES)
def test_whole_files_of_the_damage_tests_decode(
    scratch: Callable[[bytes], Path], kind: str
) -> None:
    assert decoded_or_refused(scratch(SMALL_IMAGES[kind])) is not None


@pytest.mark.parametrize("kind", SMALL_IMAGES)
def test_a_truncated_file_is_refused_or_has_lost_nothing(
    scratch: Callable[[bytes], Path], kind: str
) -> None:
    content = SMALL_IMAGES[kind]
    whole = decoded_or_refused(scratch(content))
    found = [decoded_or_refused(scratch(content[:size])) for size in range(len(content))]
    assert [size for size, pixels in enumerate(found) if pixels not in (None, whole)] == []
    assert found[len(content) // 2] is None


@pytest.mark.parametrize("kind", SMALL_IMAGES)
def test_flipped_bits_are_decoded_or_refused(scratch: Callable[[bytes], Path], kind: str) -> None:
    content = SMALL_IMAGES[kind]

    @settings(deadline=None, max_examples=100)
    @given(st.sets(st.integers(0, len(content) * 8 - 1), min_size=1, max_size=8))
    def flipped(bits: set[int]) -> None:
        damaged = bytearray(content)
        for bit in bits:
            damaged[bit // 8] ^= 1 << bit % 8
        decoded_or_refused(scratch(bytes(damaged)))

    flipped()


def test_a_good_beginning_with_anything_after_it_is_decoded_or_refused(
    scratch: Callable[[bytes], Path],
) -> None:
    @settings(deadline=None, max_examples=100)
    @given(st.sampled_from(sorted(SMALL_IMAGES)), st.integers(0, 60), st.binary(max_size=200))
    def continued(kind: str, size: int, rest: bytes) -> None:
        decoded_or_refused(scratch(SMALL_IMAGES[kind][:size] + rest))

    continued()


def test_threads_decode_what_one_thread_decodes(tmp_path: Path) -> None:
    paths = [written(tmp_path, content, kind) for kind, content in SMALL_IMAGES.items()]
    alone = [decoded_or_refused(path) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(decoded_or_refused, paths * 20))
    assert together == alone * 20
