"""Palettes of stores and files, to look at, to convert, and to map images to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.engine import connect
from kmeans_dask.errors import StoreError, UsageError
from kmeans_dask.images.palette_files import read_entries, write_entries
from kmeans_dask.job.fit_result import FitResult
from kmeans_dask.job.progress import Progress
from kmeans_dask.settings import FitSettings
from kmeans_dask.steps.fit import fit
from kmeans_dask.steps.palettes import (
    NamedPalette,
    convert_palette,
    read_any_palette,
    read_palette_file,
)
from tests.kmeans.strategies import SEEDS
from tests.steps.strategies import ingested, noise, save

CLEAR = [0, 0, 0, 0]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[FitResult]]]:
    """A store, and its palettes in the order in which they were fitted."""
    folder = tmp_path_factory.mktemp("palettes")
    image = save(folder / "a.png", noise(1, alphas="both"))
    store = ingested([image], folder / "s.zarr")
    with connect(workers=0) as engine:
        assert isinstance(store.path, Path)
        yield (
            store.path,
            [fit(store, engine, Progress(), FitSettings(colors)) for colors in (9, 4)],
        )


def test_a_store_gives_its_last_palette_or_the_one_that_is_named(
    fitted: tuple[Path, list[FitResult]],
) -> None:
    path, (first, last) = fitted
    for name, result in ((None, last), ("k4", last), ("k9", first)):
        found = read_any_palette(path, name)
        assert found.name == result.name
        assert found.entries.tolist() == result.palette.entries.tolist()
        assert found.entries[0].tolist() == CLEAR
        assert found.pixels is not None
        assert found.pixels.tolist() == [0, *result.weights.tolist()]
        assert len(found.pixels) == len(found.entries)
    assert len(first.palette) == 9
    assert len(last.palette) == 4


def test_a_palette_that_the_store_lacks_is_refused_by_name(
    fitted: tuple[Path, list[FitResult]],
) -> None:
    with pytest.raises(StoreError, match="no palette k7; it has k9, k4"):
        read_any_palette(fitted[0], "k7")


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no store"):
        read_any_palette(tmp_path)


def test_a_store_without_a_palette_says_so(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", noise(1))
    ingested([image], tmp_path / "s")
    with pytest.raises(StoreError, match="kmeans-dask fit"):
        read_any_palette(tmp_path / "s")


@pytest.mark.parametrize("suffix", [".json", ".hex", ".gpl", ".pal", ".act", ".png"])
def test_a_file_gives_its_entries_under_its_own_name(suffix: str, tmp_path: Path) -> None:
    entries = np.array([[1, 2, 3, 255], [250, 9, 0, 255]], np.uint8)
    path = tmp_path / f"sunset{suffix}"
    write_entries(path, entries)
    found = read_any_palette(path)
    assert found.entries.tolist() == entries.tolist()
    assert (found.name, found.pixels) == ("sunset", None)
    with pytest.raises(UsageError, match="--palette-name chooses among the palettes of a store"):
        read_any_palette(path, "sunset")


def test_a_palette_is_told_in_json() -> None:
    entries = np.array([CLEAR, [255, 0, 16, 255]], np.uint8)
    named = NamedPalette("a", entries, np.array([0, 7]))
    expected = {"name": "a", "colors": ["#00000000", "#ff0010"], "pixels": [0, 7]}
    assert json.loads(json.dumps(named.as_dict())) == expected
    assert NamedPalette("a", entries, None).as_dict() == expected | {"pixels": None}


@pytest.mark.parametrize("suffix", [".json", ".hex", ".png"])
def test_a_palette_of_a_store_is_the_same_in_a_file(
    suffix: str, fitted: tuple[Path, list[FitResult]], tmp_path: Path
) -> None:
    palette = read_any_palette(fitted[0])
    target = tmp_path / f"a{suffix}"
    convert_palette(palette, target, overwrite=False)
    assert read_entries(target).tolist() == palette.entries.tolist()
    if suffix == ".json":
        assert palette.pixels is not None
        assert json.loads(target.read_text())["pixels"] == palette.pixels.tolist()


def test_converting_overwrites_only_where_it_is_asked_to(tmp_path: Path) -> None:
    palette = NamedPalette("a", np.array([[1, 2, 3, 255]], np.uint8), None)
    target = tmp_path / "a.hex"
    target.write_text("precious")
    with pytest.raises(UsageError, match=r"a\.hex exists already.*--overwrite"):
        convert_palette(palette, target, overwrite=False)
    assert target.read_text() == "precious"
    convert_palette(palette, target, overwrite=True)
    assert read_entries(target).tolist() == [[1, 2, 3, 255]]


def test_what_a_format_does_not_hold_is_refused_and_leaves_what_was_there(
    fitted: tuple[Path, list[FitResult]], tmp_path: Path
) -> None:
    target = tmp_path / "a.gpl"
    target.write_text("precious")
    with pytest.raises(UsageError, match="holds no alpha"):
        convert_palette(read_any_palette(fitted[0]), target, overwrite=True)
    with pytest.raises(UsageError, match="no suffix of a palette"):
        convert_palette(read_any_palette(fitted[0]), tmp_path / "a.xyz", overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gpl"]
    assert target.read_text() == "precious"


@given(seed=SEEDS, n=st.integers(1, 40), n_clear=st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_a_palette_for_images_has_all_entries_where_the_file_has_them(
    seed: int, n: int, n_clear: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(seed)
    entries = rng.integers(0, 256, (n + n_clear, 4)).astype(np.uint8)
    entries[:, 3] = rng.choice([1, 128, 255], len(entries))
    if seed % 2:
        entries[:, 3] = 255
    clear = rng.choice(len(entries), n_clear, replace=False)
    entries[clear, 3] = 0  # their colours stay: nobody sees them
    path = tmp_path_factory.getbasetemp() / "palette.json"
    write_entries(path, entries)
    found = read_palette_file(path)
    others = np.delete(entries, clear, axis=0).tolist()
    entries[clear] = CLEAR
    assert found.clear == (min(clear) if n_clear else None)
    assert found.entries.tolist() == entries.tolist()
    assert found.entries[found.numbers].tolist() == others
    assert (found.alphas is None) == all(entry[3] == 255 for entry in others)


def test_a_palette_for_images_has_at_most_256_entries(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    entries = rng.integers(0, 256, (257, 4)).astype(np.uint8)
    entries[:, 3] = 255
    path = tmp_path / "many.hex"
    write_entries(path, entries)
    with pytest.raises(UsageError, match=r"many\.hex has 257 colours, an image holds 256"):
        read_palette_file(path)
    write_entries(path, entries[:256])
    assert len(read_palette_file(path)) == 256
    entries[[5, 9], 3] = 0  # transparent entries have indices, too
    write_entries(path, entries)
    with pytest.raises(UsageError, match="257 colours"):
        read_palette_file(path)


@pytest.mark.parametrize("n", [1, 3])
def test_a_palette_of_nothing_that_is_seen_is_refused(n: int, tmp_path: Path) -> None:
    path = tmp_path / "clear.hex"
    write_entries(path, np.full((n, 4), [9, 9, 9, 0], np.uint8))
    with pytest.raises(UsageError, match=r"clear\.hex has no colour that is not clear"):
        read_palette_file(path)
