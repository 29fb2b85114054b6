"""What the tests of the store share: pictures, partitions of them, and stores on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmeans_dask.errors import StoreError
from kmeans_dask.kmeans.histogram import ColorCounter, ColorHistogram
from kmeans_dask.settings import DecodeRecord, FitSettings
from kmeans_dask.store import Partition, Store, StoredPalette, zarr_groups
from kmeans_dask.store.records import Failure, FitRecord, ImageRecord, PlanRecord, TotalRecord
from kmeans_dask.store.repair import damage_of, damaged_metadata, places

Pixels = NDArray[np.uint8]
Alphas = NDArray[np.uint8]
DECODE = DecodeRecord(max_pixels=10**6, flat=False, keep_metadata=False, white=None)
NOTHING = ColorHistogram(np.empty(0, np.uint32), np.empty(0, np.int64))
KINDS = ["opaque", "transparent", "translucent", "both"]


@dataclass(frozen=True)
class Picture:
    """What is appended for one image: pixels (n, 3), alphas (n,) or None."""

    pixels: Pixels
    alphas: Alphas | None = None


def picture(n: int, seed: int, kind: str = "opaque") -> Picture:
    """Of one of `KINDS`; about half of the pixels that may be are opaque."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 256, (n, 3)).astype(np.uint8)
    if kind == "opaque":
        return Picture(pixels)
    others = {"transparent": [0], "translucent": range(1, 255), "both": [0, 1, 90, 254]}[kind]
    alphas = np.where(rng.random(n) < 0.5, 255, rng.choice(list(others), n)).astype(np.uint8)
    alphas[:1] = others[0]
    return Picture(pixels * (alphas > 0)[:, None], alphas)


def is_partial(alphas: Alphas) -> bool:
    return bool(((alphas > 0) & (alphas < 255)).any())


def counted(pictures: Iterable[Picture]) -> ColorHistogram:
    """Of all pixels that are seen."""
    counter = ColorCounter()
    for image in pictures:
        counter.add(image.pixels, image.alphas)
    return counter.histogram()


def records(pictures: Iterable[Picture]) -> list[ImageRecord]:
    found: list[ImageRecord] = []
    offset = 0
    for number, image in enumerate(pictures):
        found.append(
            ImageRecord(
                path=f"/images/{number}.png",
                kept_as=f"{number}.png",
                stem=f"{number}",
                n_bytes=100,
                modified=1,
                composited=False,
                indexed=False,
                brightest=None,
                digest=None,
                metadata=None,
                offset=offset,
                height=1,
                width=len(image.pixels),
                transparent=image.alphas is not None and bool((image.alphas == 0).any()),
                translucent=image.alphas is not None and is_partial(image.alphas),
            )
        )
        offset += len(image.pixels)
    return found


def write(
    store: Store,
    pictures: Sequence[Picture],
    *,
    partition_id: str = "000000",
    planned: int | None = None,
    band: int = 10**9,
    failures: Sequence[Failure] = (),
) -> Partition:
    """Append pictures in bands of `band` pixels, as ingestion does."""
    total = sum(len(image.pixels) for image in pictures)
    with store.writing_partition(partition_id, total if planned is None else planned) as writer:
        for image in pictures:
            for start in range(0, len(image.pixels), band):
                place = slice(start, start + band)
                alphas = None if image.alphas is None else image.alphas[place]
                some = alphas is not None and bool((alphas < 255).any())
                writer.append(image.pixels[place], alphas if some else None)
        writer.describe(counted(pictures), records(pictures), list(failures))
    return store.partition(partition_id)


def whole_images(partition: Partition) -> Iterator[tuple[ImageRecord, Pixels, Alphas | None]]:
    """Each image's record, pixels and alphas, put together from the pieces that are read."""
    for image, read in partition.read_images():
        pieces = list(read)
        pixels = np.concatenate([piece for piece, _ in pieces])
        alphas = [piece for _, piece in pieces if piece is not None]
        assert len(alphas) in (0, len(pieces))
        yield image, pixels, np.concatenate(alphas) if alphas else None


def new_store(folder: Path, n_partitions: int = 1) -> Store:
    return Store.create(folder / "new.zarr", planned(n_partitions), DECODE)


def planned(n_partitions: int, generation: int = 1) -> PlanRecord:
    """A plan, as far as the store knows plans."""
    names = [f"{number:06d}" for number in range(n_partitions)]
    return PlanRecord(
        inputs=("/images",),
        partitions=dict.fromkeys(names, ()),
        failures=(),
        skipped={},
        generation=generation,
        settled=0,
        first_free=n_partitions,
        partition_pixels=1 << 24,
    )


def total(histogram: ColorHistogram, generation: int = 1) -> TotalRecord:
    """Return the totals that a store keeps beside its colours, as far as it looks at them."""
    return TotalRecord(
        images=1,
        pixels=histogram.pixels,
        n_bytes=100,
        transparent=0,
        translucent=0,
        dim=0,
        failed=0,
        generation=generation,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path)


@pytest.fixture
def chunks_of_10(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr_groups, "CHUNK_PIXELS", 10)


def root_of(store: Store) -> Path:
    """The folder of a store that is none of objects."""
    assert isinstance(store.path, Path)
    return store.path


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def chunk_files(store: Store, array: str) -> list[Path]:
    return sorted(path for path in (root_of(store) / array / "c").rglob("*") if path.is_file())


WEIGHED = np.array([2**62, 1, 7, 0, 2**40], np.int64)


def palette(k: int, **fields: Any) -> StoredPalette:
    """A clear entry, and k colours of some alphas; weights of both."""
    rng = np.random.default_rng(k)
    centroids = rng.random((k, 3)) * 255
    colors = np.column_stack([centroids.round(), rng.integers(1, 256, k)])
    entries = np.concatenate([np.zeros((1, 4)), colors]).astype(np.uint8)
    fitted = FitRecord(
        settings=FitSettings(),
        distinct_colors=k,
        iterations=2,
        converged=True,
        inertia=0.1,
        squared_error="1" * 30,
        history=(3.5, 0.1),
        generation=1,
    )
    fitted = replace(fitted, **fields)
    return StoredPalette(centroids, entries, rng.integers(1, 2**40, k + 1), fitted)


Indices = NDArray[np.unsignedinteger[Any]]
IDS = ["000000", "000001", "000002"]


def some_indices(n: int, seed: int, dtype: type[np.unsignedinteger[Any]] = np.uint8) -> Indices:
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max, n, endpoint=True).astype(dtype)


def write_indices(
    store: Store, name: str, partition_id: str, indices: Indices, band: int = 10**9
) -> None:
    with store.writing_indices(name, partition_id, len(indices), indices.dtype) as append:
        for start in range(0, len(indices), band):
            append(indices[start : start + band])


def assert_indices(store: Store, name: str, expected: Sequence[Indices]) -> None:
    found = store.indices(name)
    for array, indices in zip(found, expected, strict=True):
        assert array.dtype == indices.dtype
        np.testing.assert_array_equal(np.asarray(array[:]), indices)


@pytest.fixture
def with_partitions(tmp_path: Path) -> Store:
    """Three partitions, of 25, 10 and no pixels; a palette "a"."""
    store = new_store(tmp_path, n_partitions=3)
    for partition_id, sizes in zip(IDS, ((25,), (7, 3), ()), strict=True):
        write(store, [picture(n, seed=n) for n in sizes], partition_id=partition_id)
    store.write_palette("a", palette(4))
    return store


@pytest.fixture
def with_indices(with_partitions: Store) -> Store:
    """The same, and its indices, of which the seed is a partition's number of pixels."""
    with_partitions.start_indices("a")
    for partition_id, n in zip(IDS, (25, 10, 0), strict=True):
        write_indices(with_partitions, "a", partition_id, some_indices(n, seed=n))
    return with_partitions


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """All that a store may hold, in as few bytes as possible; what tests change they mend."""
    store = new_store(tmp_path_factory.mktemp("tiny"), n_partitions=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zarr_groups, "CHUNK_PIXELS", 10)
        write(store, [picture(11, seed=1)], partition_id=IDS[0])
        write(store, [picture(3, seed=2, kind="both")], partition_id=IDS[1])
        histogram = store.partition(IDS[0]).histogram
        store.write_colors(histogram, total(histogram))
        store.write_image_weights(WEIGHED)
        store.write_palette("a", palette(2))
        store.start_indices("a")
        for partition_id, n in zip(IDS, (11, 3), strict=False):
            write_indices(store, "a", partition_id, some_indices(n, seed=n))
        assert damages_of(root_of(store)) == []
        yield store


def damages_of(path: Path) -> list[str]:
    """What is found to be damaged when everything is read."""
    try:
        store = Store.open(path)
    except StoreError as error:
        return [str(error)]
    return [*damaged_metadata(path), *(place for place in places(store) if damage_of(path, place))]


def files_of(store: Store) -> list[Path]:
    return sorted(path for path in root_of(store).rglob("*") if path.is_file())
