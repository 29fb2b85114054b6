"""Tests of `quantize`, `fit_palette`, `Palette` and `Quantized`, against plain computations."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

import kmeans_dask as kd
from tests.conftest import photograph

NEAREST = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    return np.asarray(photograph("astronaut.png", (90, 60)))


def plain_error(image: NDArray[np.uint8], entries: NDArray[np.uint8]) -> int:
    """Return the least sum of squared differences of opaque pixels to palette entries."""
    pixels = image.reshape(-1, 1, 3).astype(np.int64)
    return int(
        ((pixels - entries[None, :, :3].astype(np.int64)) ** 2).sum(axis=2).min(axis=1).sum()
    )


def plain_psnr(error: float, n: int) -> float:
    return float(10 * np.log10(255**2 * 3 * n / error))


def test_each_pixel_gets_its_nearest_entry(photo: NDArray[np.uint8]) -> None:
    found = kd.quantize(photo, 12)
    assert found.indices.shape == photo.shape[:2]
    assert found.indices.dtype == np.uint8
    assert found.palette.colors.shape == (12, 3)
    error = plain_error(photo, found.palette.entries)
    shown = found.palette.entries[found.indices][..., :3].astype(np.int64)
    assert int(((shown - photo) ** 2).sum()) == error
    assert found.psnr == pytest.approx(plain_psnr(error, photo[..., 0].size))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif", ".PNG"])
def test_a_saved_image_has_the_same_pixels(
    suffix: str, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    found = kd.quantize(photo, 16)
    path = tmp_path / f"a{suffix}"
    for _ in range(2):  # a file that is there is replaced
        found.save(path)
    with Image.open(path) as image:
        saved = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(saved, np.asarray(found.image.convert("RGB")))
    np.testing.assert_array_equal(saved, found.palette.entries[found.indices][..., :3])


def forms_of(photo: NDArray[np.uint8], folder: Path) -> dict[str, Any]:
    path = folder / "photo.png"
    Image.fromarray(photo).save(path)
    return {
        "path": path,
        "text": str(path),
        "URL": path.as_uri(),
        "Pillow": Image.fromarray(photo),
        "NumPy": photo,
        "not contiguous": np.asfortranarray(photo),
        "Dask": da.from_array(photo, chunks=(20, 30, 2)),
        "Zarr": zarr.array(photo),
        "opaque": np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)]),
        "16 bits": photo.astype(np.uint16) * 257,
    }


def test_an_image_is_taken_in_every_form(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    expected = kd.quantize(photo, 8)
    for name, form in forms_of(photo, tmp_path).items():
        found = kd.quantize(form, 8)
        np.testing.assert_array_equal(found.indices, expected.indices, err_msg=name)
        np.testing.assert_array_equal(found.palette.entries, expected.palette.entries, name)


@pytest.mark.parametrize(
    ("mode", "kind"), [("1", bool), ("L", np.uint8), ("I;16", np.uint16), ("P", None), ("LA", None)]
)
def test_images_of_other_modes_are_taken(mode: str, kind: Any, photo: NDArray[np.uint8]) -> None:
    grey = Image.fromarray(photo).convert("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    else:
        image = grey.convert(mode)
    expected = np.asarray(image.convert("L") if mode == "1" else grey)
    found = kd.quantize(image, 256)
    shown = found.palette.entries[found.indices]
    np.testing.assert_array_equal(shown[..., 0], expected)
    assert found.psnr is None
    if kind is not None:
        again = kd.quantize(np.asarray(image), 256)
        np.testing.assert_array_equal(again.palette.entries[again.indices], shown)


def test_16_bits_are_rounded_to_8() -> None:
    deep = np.arange(0, 1 << 16, 77).astype(np.uint16).reshape(-1, 4)
    found = kd.quantize(deep, 256)
    shown = found.palette.entries[found.indices][..., 0]
    np.testing.assert_array_equal(shown, np.floor(deep / 257 + 0.5))


def test_a_profile_of_pillows_image_is_applied(photo: NDArray[np.uint8]) -> None:
    image = Image.fromarray(photo)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    image.info["icc_profile"] = lab.tobytes()
    same = kd.quantize(image, 8)
    np.testing.assert_array_equal(same.indices, kd.quantize(photo, 8).indices)


def test_transparent_pixels_get_a_clear_entry(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    image = np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])
    image[:20, :, 3] = 0
    found = kd.quantize(image, 5)
    assert len(found.palette) == 5
    assert (found.palette.entries[found.indices][..., 3] == image[..., 3]).all()
    assert (np.asarray(found.image.convert("RGBA"))[..., 3] == image[..., 3]).all()
    mapped = kd.Palette.of([[0, 0, 0], [255, 255, 255]]).map(image)
    assert len(mapped.palette) == 3
    assert (mapped.palette.entries[mapped.indices][..., 3] == image[..., 3]).all()
    found.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        assert (np.asarray(saved.convert("RGBA"))[..., 3] == image[..., 3]).all()


def test_a_target_needs_the_fewest_colours(photo: NDArray[np.uint8]) -> None:
    found = kd.quantize(photo, 64, min_psnr=28)
    assert found.psnr is not None
    assert found.psnr >= 28
    fewer = kd.quantize(photo, len(found.palette) - 1)
    assert fewer.psnr is not None
    assert fewer.psnr < 28


def test_fixed_colors_come_first_and_dithering_uses_the_palette(photo: NDArray[np.uint8]) -> None:
    found = kd.quantize(photo, 8, fixed_colors=[(1, 2, 3)], dither=0.75, color_space="oklab")
    assert found.palette.colors[0].tolist() == [1, 2, 3]
    assert found.indices.max() < len(found.palette)
    plain = kd.quantize(photo, 8, fixed_colors=[(1, 2, 3)], color_space="oklab")
    assert (found.indices != plain.indices).any()


@pytest.mark.parametrize("color_space", ["rgb", "oklab"])
def test_lossy_indices_take_fewer_bytes(
    photo: NDArray[np.uint8], color_space: str, tmp_path: Path
) -> None:
    sizes, qualities = list[int](), list[float]()
    for lossy in (0.0, 4.0, 40.0):
        found = kd.quantize(photo, 64, lossy=lossy, color_space=color_space)
        found.save(tmp_path / "a.png", effort=8)
        sizes.append((tmp_path / "a.png").stat().st_size)
        qualities.append(found.psnr or 99)
    assert sizes == sorted(sizes, reverse=True)
    assert qualities[-1] < min(qualities[:-1])
    palette = kd.quantize(photo, 64).palette
    again = palette.map(photo, lossy=4)
    assert np.array_equal(again.palette.entries, palette.entries)


def test_many_colours_are_indices_of_16_bits(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    found = kd.quantize(photo, 700)
    assert found.indices.dtype == np.uint16
    shown = found.palette.entries[found.indices][..., :3].astype(np.int64)
    assert int(((shown - photo) ** 2).sum()) == plain_error(photo, found.palette.entries)
    with pytest.raises(kd.UsageError, match="holds 256 entries, the palette has 700"):
        _ = found.image
    with pytest.raises(kd.UsageError, match="700 entries"):
        found.save(tmp_path / "a.png")
    assert "before" in found._repr_html_()


@given(NEAREST)
def test_a_palette_maps_exactly(seed: int) -> None:
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (7, 9, 3)).astype(np.uint8)
    palette = kd.Palette.of(random.integers(0, 256, (int(random.integers(1, 40)), 3)))
    found = palette.map(image)
    shown = found.palette.entries[found.indices][..., :3].astype(np.int64)
    assert int(((shown - image) ** 2).sum()) == plain_error(image, palette.entries)


@pytest.mark.parametrize("suffix", [".json", ".gpl", ".hex", ".png", ".act", ".pal"])
def test_a_palette_comes_back_from_its_file(suffix: str, tmp_path: Path) -> None:
    palette = kd.Palette.of([[200, 0, 0], [0, 0, 0], [9, 8, 7]])
    palette.save(tmp_path / f"brand{suffix}")
    loaded = kd.Palette.load(tmp_path / f"brand{suffix}")
    assert loaded.colors.tolist() == [[200, 0, 0], [0, 0, 0], [9, 8, 7]]
    assert "#c80000" in loaded._repr_html_()


def stacks(photo: NDArray[np.uint8]) -> dict[str, Any]:
    stack = np.stack([photo, photo[::-1], photo // 2])
    return {
        "NumPy": stack,
        "Dask": da.from_array(stack, chunks=(1, 33, 40, 2)),
        "Zarr": zarr.array(stack, chunks=(2, 60, 45, 3)),
        "opaque": np.concatenate([stack, np.full((*stack.shape[:3], 1), 255, np.uint8)], axis=3),
        "list": list(stack),
        "Pillow": [Image.fromarray(each) for each in stack],
        "iterator": iter(list(stack)),
    }


def test_a_palette_of_several_images_is_that_of_all_their_pixels(
    photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    all_pixels = np.concatenate([photo, photo[::-1], photo // 2])
    expected = kd.fit_palette([all_pixels], 16).entries
    for name, form in stacks(photo).items():
        found = kd.fit_palette(form, 16)
        np.testing.assert_array_equal(found.entries, expected, err_msg=name)
    folder = tmp_path / "in"
    folder.mkdir()
    for number, each in enumerate(stacks(photo)["list"]):
        Image.fromarray(each).save(folder / f"{number}.png")
    for paths in (folder, sorted(folder.iterdir()), str(folder)):
        np.testing.assert_array_equal(kd.fit_palette(paths, 16).entries, expected)
    store = kd.ingest(folder, tmp_path / "s.zarr")
    np.testing.assert_array_equal(kd.fit_palette(store, 16).entries, expected)
    assert not store.palettes  # nothing is written


def test_a_stack_of_grey_images_is_taken(photo: NDArray[np.uint8]) -> None:
    grey = np.stack([photo[..., 0], photo[..., 1]])
    found = kd.fit_palette(grey, 8)
    expected = kd.fit_palette([photo[..., 0], photo[..., 1]], 8)
    np.testing.assert_array_equal(found.entries, expected.entries)


REFUSED: dict[str, tuple[Any, str]] = {
    "floats": (np.zeros((3, 3, 3)), "float64 has no agreed white"),
    "one axis": (np.zeros(3, np.uint8), "is no image"),
    "two channels": (np.zeros((3, 3, 2), np.uint8), "is no image"),
    "nothing": (np.zeros((0, 3, 3), np.uint8), "is no image"),
    "32 bits": (Image.fromarray(np.zeros((3, 3), np.int32)), "no agreed white"),
    "a URL": ("ftp://a/b.png", "cannot be read"),
    "a file that is not there": ("nowhere/a.png", r"^nowhere/a\.png does not exist: name an image"),
    "a folder": (Path(__file__).parent, r"tests/api is a folder: name an image"),
    "bytes": (b"\x89PNG", "of type bytes is no image"),
    "nothing at all": (None, "of type NoneType is no image"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_is_refused_in_one_line(name: str) -> None:
    image, says = REFUSED[name]
    with pytest.raises(kd.UsageError, match=says) as caught:
        kd.quantize(image)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_image_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    with pytest.raises(kd.ImageError, match=r"/a\.png: a PNG that is damaged"):
        kd.quantize(tmp_path / "a.png")
    with pytest.raises(kd.UsageError, match=r"a\.png: a PNG that is damaged"):
        kd.fit_palette([tmp_path / "a.png"], 4)
    photograph("astronaut.png", (9, 6)).save(tmp_path / "b.png")
    with pytest.raises(kd.ImageError, match=r"a\.png: a PNG that is damaged"):
        kd.fit_palette([tmp_path], 4)


@pytest.mark.parametrize(
    "call",
    [
        lambda image: kd.quantize(image, 1),
        lambda image: kd.quantize(image, color_space="cmyk"),
        lambda image: kd.quantize(image, fixed_colors=["#ff0000"]),  # type: ignore[list-item]
        lambda image: kd.quantize(image, fixed_colors=[(1, 2)]),  # type: ignore[list-item]
        lambda image: kd.quantize(image, dither=2),
        lambda image: kd.quantize(image, 700, dither=1),
        lambda image: kd.quantize(image, 700, lossy=1),
        lambda image: kd.Palette.of([[0, 0, 0]]).map(image, dither=-1),
        lambda image: kd.Palette.of([[0, 0, 0]]).map(image, color_space="hsv"),
        lambda image: kd.Palette.of([[0, 0, 256]]),
        lambda image: kd.Palette.of([[0, 0]]),
        lambda image: kd.quantize(image, 4).save("a.jpg"),
        lambda image: kd.fit_palette([], 4),
        lambda image: kd.fit_palette(image, 4, workers=-1),
    ],
)
def test_a_value_out_of_range_is_refused(call: Any, photo: NDArray[np.uint8]) -> None:
    with pytest.raises(kd.UsageError):
        call(photo)


def test_threads_and_repeated_calls_give_the_same(photo: NDArray[np.uint8]) -> None:
    limit, filters = Image.MAX_IMAGE_PIXELS, np.geterr()
    expected = kd.quantize(photo, 32).indices
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(lambda _: kd.quantize(photo, 32), range(8)):
            np.testing.assert_array_equal(found.indices, expected)
    assert (limit, filters) == (Image.MAX_IMAGE_PIXELS, np.geterr())


def test_a_notebook_shows_pictures_and_swatches(photo: NDArray[np.uint8]) -> None:
    shown = kd.quantize(photo, 4)._repr_html_()
    assert shown.count("data:image/png;base64,") == 2
    assert shown.count("inline-block;width") == 4
    file = io.BytesIO()
    kd.quantize(photo, 4).image.save(file, "PNG")
    assert file.tell()
