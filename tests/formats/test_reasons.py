"""Tests of reasons in our words, of decoding without extras, and of settings left as they were."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from kmeans_dask.errors import ImageError
from kmeans_dask.formats.icc import SRGB_PRIMARIES, Curve, make_profile
from kmeans_dask.formats.signatures import NAMES
from kmeans_dask.images.decode import decode
from tests.formats.bmp_files import RLE8, Bmp
from tests.formats.gif_files import Gif
from tests.formats.jpeg2000_files import boxed, codestream, with_alpha
from tests.formats.matrix import blocks, pixels_of, ramps, slopes
from tests.formats.png_files import Png, code_points, gamma, key, profile
from tests.formats.test_matrix_others import LINEAR, avif, netpbm, saved, twelve
from tests.formats.tiff_files import DEFLATE, LZW, PALETTE, RGB, Tiff


def files() -> dict[str, bytes]:
    """Return a small file for each way that leads to a decoder, by name."""
    rgb, wide = slopes(3, (9, 12)), ramps(3, 16, (9, 12))
    image = Image.fromarray(rgb)
    grey = ramps(1, 8, (9, 12))
    colors = (np.arange(768).reshape(256, 3) % 256).astype(np.uint8)
    return {
        "PNG": Png(values=rgb, chunks=[gamma(1)]).encode(),
        "PNG of 16 bits": Png(values=wide, bits=16, chunks=[profile(LINEAR)]).encode(),
        "PNG with a key": Png(values=wide, bits=16, chunks=[key(*wide[0, 0].tolist())]).encode(),
        "PNG with code points": Png(values=rgb, chunks=[code_points(12, 13)]).encode(),
        "JPEG": saved(image, "JPEG", icc_profile=LINEAR),
        "JPEG of 12 bits": twelve(rgb.astype(np.uint16) * 16),
        "GIF": Gif(
            values=grey[..., 0].astype(np.uint8), colors=colors, canvas=(20, 20), place=(3, 4)
        ).encode(),
        "TIFF": Tiff(values=rgb, photometric=RGB, compression=LZW).encode(),
        "planar TIFF": Tiff(
            values=wide, bits=16, photometric=RGB, planar=True, compression=DEFLATE
        ).encode(),
        "big TIFF": Tiff(values=grey, order=">", big=True).encode(),
        "palette TIFF": Tiff(values=grey, photometric=PALETTE, palette=colors).encode(),
        "WEBP": saved(image, "WEBP", lossless=True),
        "BMP": Bmp(values=grey[..., 0], bits=8, colors=colors, compression=RLE8).encode(),
        "PPM": netpbm("6", rgb, 255),
        "PGM": netpbm("2", grey, 255),
        "JPEG 2000": boxed(codestream(rgb, 8)),
        "deep JPEG 2000": boxed(
            codestream(ramps(4, 12, (9, 12)), 12), channels=with_alpha(4), profile=LINEAR
        ),
        "AVIF": avif(slopes(4, (16, 16)), 10, "444", primaries=12, transfer=13),
    }


FILES = files()
OURS = (
    *(f"{name} " for name in NAMES.values()),
    *("not an image, whatever it is called", "a picture of high dynamic range", "a DNG"),
    *("its colour profile has more than", "takes more memory to decode than there is"),
    *("a CMYK JPEG", "a CMYK image", "a lossless JPEG", "a hierarchical JPEG", "a JPEG-LS image"),
    *("a Netpbm file of more", "the raw data of a camera", "samples of 32 bits have no agreed"),
    *(
        "an image that is damaged: its size is not",
        "a planar TIFF",
        "an icon",
        "a HEIC image",
        "the file is empty",
    ),
)


def reason_of(path: Path) -> str | None:
    try:
        decode(path, 1 << 14, keep_metadata=True).whole()
    except ImageError as error:
        return str(error)
    return None


def assert_ours(reason: str | None) -> None:
    assert (
        reason is None
        or reason.startswith(OURS)
        or "pixels are more than the limit of 16384: raise --max-pixels" in reason
    )


@pytest.mark.parametrize("kind", FILES)
def test_whole_files_are_decoded(kind: str, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(FILES[kind])
    assert reason_of(tmp_path / "image") is None


@pytest.mark.parametrize("kind", FILES)
def test_reasons_for_damaged_files_are_our_own(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damage") / "image.png"
    content = FILES[kind]

    @settings(deadline=None, max_examples=60)
    @given(st.data())
    def damaged(data: st.DataObject) -> None:
        bad = bytearray(content)
        for _ in range(data.draw(st.integers(0, 8))):
            bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(bad[: data.draw(st.integers(1, len(bad)))])
        assert_ours(reason_of(path))

    damaged()


def test_a_reason_names_the_format(tmp_path: Path) -> None:
    for kind, content in FILES.items():
        (tmp_path / "image").write_bytes(content[: len(content) * 2 // 3])
        reason = reason_of(tmp_path / "image")
        assert reason, kind
        assert reason.startswith(tuple(NAMES.values())), kind
        assert "damaged" in reason, kind


# -- without the extra ---------------------------------------------------------------------------

NEEDS_EXTRA = {
    "PNG of 16 bits", "PNG with a key", "JPEG of 12 bits", "planar TIFF", "big TIFF",
    "deep JPEG 2000",
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_without_the_extra_what_needs_it_is_refused_and_names_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    (tmp_path / "image").write_bytes(FILES[kind])
    reason = reason_of(tmp_path / "image")
    if kind in NEEDS_EXTRA:
        assert reason
        assert "pip install 'kmeans-dask[formats]'" in reason
        assert reason.startswith(("a ", "an "))
    else:
        assert reason is None


# -- what is not ours to change ------------------------------------------------------------------


def decode_all(folder: Path) -> None:
    for content in FILES.values():
        (folder / "image").write_bytes(content)
        pixels_of(folder / "image")


def test_decoding_changes_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def state() -> Any:
        loggers = [logging.getLogger(name) for name in (None, "tifffile", "PIL")]
        return (
            Image.MAX_IMAGE_PIXELS,
            ImageFile.LOAD_TRUNCATED_IMAGES,
            ImageFile.MAXBLOCK,
            list(warnings.filters),
            warnings.showwarning,
            [(logger.level, logger.propagate, logger.disabled) for logger in loggers],
        )

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 123456)
    before = state()
    decode_all(tmp_path)
    for content in FILES.values():
        (tmp_path / "image").write_bytes(content[: len(content) // 2])
        reason_of(tmp_path / "image")
    assert state() == before


def test_a_low_limit_of_the_process_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that Pillow's limit, which is for other images of this process, stops only WebP."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for kind, content in FILES.items():
        (tmp_path / "image").write_bytes(content)
        reason = reason_of(tmp_path / "image")
        assert ("the limit of this process for Pillow" in str(reason)) == (kind == "WEBP")
        assert kind == "WEBP" or reason is None
    tall = np.repeat(blocks(3, (16, 1 << 12)), 9, axis=0)
    (tmp_path / "image").write_bytes(saved(Image.fromarray(tall), "PNG"))
    np.testing.assert_array_equal(
        pixels_of_large(tmp_path / "image"), tall
    )  # this image is handed out in several bands


def pixels_of_large(path: Path) -> Any:
    decoded = decode(path)
    assert len(list(decoded.bands())) > 1
    return decoded.whole().pixels.reshape(decoded.height, decoded.width, 3)


def test_decoders_print_nothing_on_stderr(tmp_path: Path) -> None:
    """Check the streams of a new process: not all that libraries write goes through loggers."""
    half = Tiff(values=ramps(3, 16), bits=16, photometric=RGB, planar=True, compression=DEFLATE)
    content = half.encode()
    odd = Tiff(values=ramps(1, 12), bits=12, tags=((65000, 3, (1,)),))
    (tmp_path / "a.tif").write_bytes(content[: len(content) * 3 // 4])
    (tmp_path / "b.tif").write_bytes(odd.encode().replace(b"\x01\x01\x03\0", b"\x01\x01\x63\0"))
    (tmp_path / "c.tif").write_bytes(content)
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from kmeans_dask.errors import ImageError\n"
        "from kmeans_dask.images.decode import decode\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        decode(Path(name))\n"
        "    except ImageError:\n"
        "        pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")


def test_a_profile_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    large = make_profile(SRGB_PRIMARIES, Curve(1)) + bytes(1 << 22)
    for kind, reason in (
        ("TIFF", "its colour profile has more than 4194304 bytes"),
        ("PNG", "a PNG whose colour profile or text has more than 1048576 bytes"),
    ):
        content = saved(Image.new("RGB", (2, 2)), kind, icc_profile=large)
        (tmp_path / "image").write_bytes(content)
        assert reason_of(tmp_path / "image") == reason
