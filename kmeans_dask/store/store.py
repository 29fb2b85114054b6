"""Store of a collection of images: a Zarr v3 group with this layout.

    name.zarr/                attrs: format, format_version, versions, decode
      plan.json               the images of each partition, finished or not, and a copy of the
                              attrs; sealed; plan-copy.json is a copy of the file
      partitions/<id>/        attrs: images, failures (a partition exists only once it is whole)
        pixels                (n, 3) uint8, straight sRGB, image after image
        alphas                (n,) uint8; only where some pixel is not opaque
        codes, weights        the partition's histogram: (u,) uint32, (u,) int64
      colors/                 attrs: sums over all images, the generation of the plan
        codes, weights        the histogram of all partitions together
      weighed/                weights: (u,) int64, of these colours, where all images count the same
      palettes/<name>/        attrs: settings and results of the fit
        centroids             (k, 3) float64
        entries, weights      (k, 4) uint8, straight sRGB and alpha; (k,) int64
      copies/<name>/          a copy of the palette of that name
      fits/<name>.json        checkpoint of a fit that runs or was killed; sealed
      indices/<name>/<id>     (n,) uint8 or uint16: for each pixel of a partition, its palette entry

Colour codes are those of `kmeans_dask.kmeans.morton_codes`, ascending. One group per partition
makes the unit of work the unit of commit: it is written to a temporary folder and renamed into
place, or in an object store sealed last, so a partition that is there is whole. What is committed
is sealed (`kmeans_dask.store.zarr_groups`). A plan that grows has a new generation; the totals in
`colors` are out of date then, until the histograms are merged again.

A store may come from anyone, so all of it is checked when it is read. Another layout, or a symbolic
link that leads elsewhere, raises StoreError with a message of one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.spaces import Space
from kmeans_dask.errors import StoreError
from kmeans_dask.files import Location, ObjectPath
from kmeans_dask.files.atomic_files import (
    copy_folder,
    is_temporary,
    names_in,
    read_sealed,
    remove,
    write_sealed,
)
from kmeans_dask.files.documents import DamagedError
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.settings import DecodeRecord
from kmeans_dask.store import zarr_groups
from kmeans_dask.store.partition import Partition, PartitionWriter
from kmeans_dask.store.records import (
    FORMS,
    PALETTE,
    PARTITION,
    PLAN,
    STORE,
    TOTAL,
    FitRecord,
    PlanRecord,
    StoreRecord,
    TotalRecord,
)

if TYPE_CHECKING:
    import zarr


FORMAT = "kmeans-dask"
FORMAT_VERSION = 4
OURS = FORMAT, FORMAT_VERSION

_MAX_ENTRIES = (1 << 16) + 1  # of a palette
_MAX_PIXELS = 1 << 62
_VERSIONS_OF = ("kmeans-dask", "numpy", "numba", "pillow", "zarr")
PLANS = ("plan.json", "plan-copy.json")
MEMBERS = ("partitions", "palettes", "copies", "indices")
_LOCK = ".lock"
_LOCKS = (_LOCK, f"{_LOCK}-shared")
_BEGUN = ("zarr.json", zarr_groups.SEAL)  # metadata, which a store has before it has a plan
_SEEN: dict[
    ObjectPath, tuple[str, StoreRecord]
] = {}  # the ETag of a store's seal, and its attributes


def refuse_links(path: Location) -> None:
    """Raise StoreError where a folder of the store at `path` is a link.

    Writing or removing there would change files elsewhere.
    """
    for name in ("colors", "weighed", "fits", *MEMBERS):
        if (path / name).is_symlink():
            raise StoreError(f"{path / name} is a link: no store has any")


@dataclass(frozen=True)
class StoredPalette:
    """Palette in a store, and the fit that it comes from.

    centroids: (k, 3) float64, or (k, 4) where colours have alpha
    entries: (e, 4) uint8, straight sRGB and alpha, in index order
    weights: (e,) int64, pixels of each entry
    fitted: the settings and results of the fit
    """

    centroids: NDArray[np.float64]
    entries: NDArray[np.uint8]
    weights: NDArray[np.int64]
    fitted: FitRecord


class Store:
    """Store at a path or URL. Make a new one with `create`, or `open` an existing one."""

    def __init__(self, path: Location, attrs: StoreRecord) -> None:
        self.path, self.attrs = path, attrs

    @classmethod
    def create(cls, path: Location, plan: PlanRecord, decode: DecodeRecord) -> Store:
        """Create an empty store at `path`. Raises StoreError where something is there already.

        plan: the plan of its images; decode: the settings for decoding them
        """
        if path.exists() and not cls.is_free(path):
            raise StoreError(f"{path} exists already: choose another path or remove it first")
        path.mkdir(parents=True, exist_ok=True)
        for name in names_in(path) - set(_LOCKS):  # left by a run that was killed in this method
            remove(path / name)
        versions = {name: metadata.version(name) for name in _VERSIONS_OF}
        attrs = StoreRecord(
            format=FORMAT, format_version=FORMAT_VERSION, versions=versions, decode=decode
        )
        zarr_groups.rewrite_metadata(path, attrs)
        for name in MEMBERS:
            zarr_groups.rewrite_metadata(path / name)
        zarr_groups.seal(path, MEMBERS)
        store = cls(path, attrs)
        store.write_plan(plan)
        return store

    @classmethod
    def open(cls, path: Location) -> Store:
        """Open the store at `path`. Raises StoreError where there is none that can be read."""
        return cls._open_again(path) if isinstance(path, ObjectPath) else cls._open(path)

    @classmethod
    def _open_again(cls, path: ObjectPath) -> Store:
        """Open a store by one request where its seal is unchanged since this process opened it.

        Every task opens its store, and opening it anew looks at a dozen objects.
        """
        seal = path / zarr_groups.SEAL
        tag = seal.tagged().tag if path in _SEEN else None
        if path not in _SEEN or _SEEN[path][0] != tag:
            store = cls._open(path)
            _SEEN[path] = seal.tagged().tag, store.attrs
        return cls(path, _SEEN[path][1])

    @classmethod
    def _open(cls, path: Location) -> Store:
        if not cls.is_at(path):
            raise StoreError(f"{path} is no store: make one with `kmeans-dask ingest INPUT {path}`")
        refuse_links(path)
        found = zarr_groups.format_of(path)
        if found not in (OURS, None):
            raise StoreError(
                f"{path} has format {found[0]} {found[1]}; this version reads {FORMAT} "
                f"{FORMAT_VERSION}"
            )
        if found is None and not any((path / name).exists() for name in PLANS):
            raise StoreError(f"{path} is not a store of kmeans-dask")
        return cls(path, zarr_groups.read_root(path, STORE))

    @staticmethod
    def is_at(path: Location) -> bool:
        """Return whether there may be a store at `path`, finished or not."""
        there = any((path / name).exists() for name in ("zarr.json", *PLANS))
        return there and not Store.is_free(path)

    @staticmethod
    def is_free(path: Location) -> bool:
        """Return whether `path` is free, or has only what a run killed at its start has left."""
        if not path.is_dir():
            return not path.exists()
        left = names_in(path) - set(_LOCKS)
        if any(name in PLANS for name in left):  # which are written last
            return False
        for name in left:
            member = path / name
            is_folder = name in MEMBERS and member.is_dir() and not member.is_symlink()
            inside = names_in(member) if is_folder else {name}
            if any(each not in _BEGUN and not is_temporary(each) for each in inside):
                return False
        return "zarr.json" not in left or zarr_groups.format_of(path) == OURS

    @staticmethod
    def lock_file(path: Location) -> Location:
        """Return the path of the lock that a run holds while it writes to the store at `path`."""
        return path / _LOCK

    # -- the plan -----------------------------------------------------------------------------

    def write_plan(self, plan: PlanRecord) -> None:
        """Write the plan of the store over the previous one."""
        kept = msgspec.structs.replace(plan, attrs=self.attrs)
        for name in PLANS:
            write_sealed(self.path / name, kept, PLAN)
        self.__dict__.pop("plan", None)

    @cached_property
    def plan(self) -> PlanRecord:
        """Return the latest plan. Raises StoreError where neither copy can be read."""
        reason = "its plan is lost"
        for name in PLANS:  # one may be damaged, or older: the first is written first
            try:
                return read_sealed(self.path / name, PLAN)
            except FileNotFoundError:
                pass
            except (DamagedError, OSError) as error:
                reason = str(error)
        raise StoreError(f"{self.path} is damaged: its plan is lost: {reason}")

    @property
    def is_planned_twice(self) -> bool:
        """Return whether both copies of the plan can be read, and are equal."""
        try:
            first, second = (read_sealed(self.path / name, PLAN) for name in PLANS)
        except (DamagedError, OSError):
            return False
        return first == second

    @property
    def missing_partitions(self) -> list[str]:
        """Return the ids of partitions that are planned and not committed, ascending."""
        return sorted(set(self.plan.partitions) - set(self.committed_partitions))

    def remove_unplanned(self) -> None:
        """Remove partitions that are no longer in the plan, and what killed tasks have left."""
        self.sweep()
        for name in set(self.committed_partitions) - set(self.plan.partitions):
            self.remove_partition(name)

    def sweep(self) -> None:
        """Remove what killed runs and tasks have left. No other run may be writing meanwhile."""
        folders = ("fits", *MEMBERS, *(f"indices/{name}" for name in self._indexed))
        for folder in (self.path, *(self.path / name for name in folders)):
            zarr_groups.sweep(folder, keep=(*MEMBERS, "fits"))

    # -- partitions ---------------------------------------------------------------------------

    @property
    def partition_ids(self) -> list[str]:
        """Return the ids of the partitions that are planned, ascending."""
        return sorted(self.plan.partitions)

    @property
    def committed_partitions(self) -> list[str]:
        """Return the ids of the partitions that are committed, ascending."""
        return zarr_groups.members(self.path / "partitions")

    def has_partition(self, partition_id: str) -> bool:
        """Return whether a partition is committed."""
        return zarr_groups.is_member(self.path / "partitions" / partition_id)

    def remove_partition(self, partition_id: str) -> None:
        """Remove a partition, and its indices into all palettes."""
        indices = self.path / "indices"
        palettes = [indices / name for name in zarr_groups.members(indices)]
        for folder in (self.path / "partitions", *palettes):
            remove(folder / partition_id, zarr_groups.SEAL)

    @property
    def is_counted(self) -> bool:
        """Return whether the histograms of all partitions are merged, which ingestion does last."""
        there = zarr_groups.is_member(self.path / "colors")
        return there and self.total.generation == self.plan.generation

    def require_whole(self) -> None:
        """Raise StoreError where ingestion is unfinished: a partition is missing, or the total."""
        missing, expected = len(self.missing_partitions), len(self.plan.partitions)
        if missing:
            raise StoreError(
                f"{self.path} is unfinished: {missing} of {expected} partitions are missing; run "
                "the job that made it again, with --resume"
            )
        if not self.is_counted:
            raise StoreError(
                f"{self.path} is unfinished: its colours were not added up; run the job that made "
                "it again, with --resume"
            )

    @contextmanager
    def writing_partition(self, partition_id: str, n_pixels: int) -> Iterator[PartitionWriter]:
        """Yield a writer of a partition of at most `n_pixels`, committed when the block succeeds.

        Where another attempt has committed it first, with the same bytes, that one stays.
        """
        with (
            zarr_groups.aside(self.path / "partitions", partition_id) as group,
            PartitionWriter(group, n_pixels) as writer,
        ):
            yield writer
            writer.finish()

    def partition(self, partition_id: str) -> Partition:
        """Return a partition for reading. Raises StoreError where it is missing or damaged."""
        return Partition(zarr_groups.open_group(self.path / "partitions" / partition_id, PARTITION))

    def check_partition(self, partition_id: str) -> None:
        """Read all of a partition, and raise StoreError where anything is damaged."""
        zarr_groups.check_group(self.path / "partitions" / partition_id, PARTITION)

    # -- colours ------------------------------------------------------------------------------

    def write_colors(self, histogram: ColorHistogram, total: TotalRecord) -> None:
        """Write the histogram of all partitions together, and the other totals."""
        remove(self.path / "weighed", zarr_groups.SEAL)  # the weights of other colours
        with zarr_groups.aside(self.path, "colors", replace=True) as group:
            zarr_groups.write_histogram(group, histogram)
            zarr_groups.describe(group, total, TOTAL)

    @property
    def _colors(self) -> zarr_groups.Group[TotalRecord]:
        return zarr_groups.open_group(self.path / "colors", TOTAL)

    def read_colors(self, start: int = 0, stop: int | None = None) -> ColorHistogram:
        """Return the colours `start` to `stop` of the histogram of all partitions together."""
        colors = self._colors
        return zarr_groups.read_histogram(colors, colors.says.pixels, start, stop)

    def check_colors(self) -> None:
        """Raise StoreError where the histogram adds up to more pixels than the store has."""
        colors, weight = self._colors, 0
        for start in range(0, colors.shape("codes")[0], zarr_groups.CHUNK_COLORS):
            place = start, start + zarr_groups.CHUNK_COLORS
            weight += zarr_groups.read_histogram(colors, colors.says.pixels, *place).pixels
        if weight > colors.says.pixels:
            raise StoreError(f"{self.path} is damaged: its colours are of too many pixels")

    @property
    def total(self) -> TotalRecord:
        """Return the totals over all partitions, which are attributes of the group `colors`."""
        return self._colors.says

    @property
    def n_colors(self) -> int:
        """Return the number of distinct colours. Raises StoreError where a chunk is missing."""
        return self._colors.open("codes").shape[0]

    def write_image_weights(self, weights: NDArray[np.int64]) -> None:
        """Write the weights of all colours, (u,) int64, where every image counts the same."""
        with zarr_groups.aside(self.path, "weighed", replace=True) as group:
            zarr_groups.write(group, "weights", weights)

    @property
    def has_image_weights(self) -> bool:
        """Return whether the store has weights of colours where every image counts the same."""
        return zarr_groups.is_member(self.path / "weighed")

    def read_image_weights(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Return what `write_image_weights` wrote, (u,) int64, of the colours `start` to `stop`."""
        group = zarr_groups.open_group(self.path / "weighed", FORMS["weighed"])
        return group.read("weights", slice(start, stop))

    # -- palettes -----------------------------------------------------------------------------

    @property
    def palette_names(self) -> list[str]:
        """Return the names of the palettes that are committed, the latest last."""
        return sorted(zarr_groups.members(self.path / "palettes"), key=self._palette_number)

    @property
    def palette_names_twice(self) -> list[str]:
        """Return the names of all palettes, ascending, also where one of two copies is missing."""
        folders = (self.path / "palettes", self.path / "copies")
        return sorted({name for folder in folders for name in zarr_groups.members(folder)})

    def _palette(self, name: str) -> zarr_groups.Group[FitRecord]:
        return zarr_groups.open_group(self.path / "palettes" / name, PALETTE)

    def _palette_number(self, name: str) -> int:
        return self._palette(name).says.number

    def write_palette(self, name: str, palette: StoredPalette) -> None:
        """Write a palette in place of one of the same name, whose indices are removed."""
        self._remove_indices(name)
        copy = self.path / "copies" / name
        remove(copy, zarr_groups.SEAL)  # first, so that a copy is never of another palette
        number = max(map(self._palette_number, self.palette_names), default=0) + 1
        with zarr_groups.aside(self.path / "palettes", name, replace=True) as group:
            zarr_groups.write(group, "centroids", palette.centroids)
            zarr_groups.write(group, "entries", palette.entries)
            zarr_groups.write(group, "weights", palette.weights)
            zarr_groups.describe(group, asdict(replace(palette.fitted, number=number)), PALETTE)
        self.settle_palette(name)

    def settle_palette(self, name: str) -> None:
        """Copy the palette `name` and remove its checkpoint, if a killed run has not done that."""
        copy = self.path / "copies" / name
        if not zarr_groups.is_member(copy):
            copy_folder(self.path / "palettes" / name, copy, zarr_groups.SEAL)
        self.fit_file(name).unlink(missing_ok=True)

    def read_palette(self, name: str) -> StoredPalette:
        """Return the palette `name`. Raises StoreError where it is missing or damaged."""
        if name not in self.palette_names:
            names = ", ".join(self.palette_names) or "none: run `kmeans-dask fit` first"
            raise StoreError(f"{self.path} has no palette {name}; it has {names}")
        group = self._palette(name)
        parts = ("centroids", "entries", "weights")
        if any(group.shape(each)[0] > _MAX_ENTRIES for each in parts):
            raise StoreError(f"{self.path} is damaged: palette {name} is too large")
        centroids, entries, weights = map(group.read, parts)
        space = Space(group.says.settings.space, alpha=centroids.shape[1] == 4)
        is_one = 0 < len(entries) == len(weights) and zarr_groups.is_weights(weights, _MAX_PIXELS)
        if not (is_one and space.holds(centroids)):
            raise StoreError(f"{self.path} is damaged: palette {name} is none")
        return StoredPalette(centroids, entries, weights, group.says)

    def fit_file(self, name: str) -> Location:
        """Return the path of the checkpoint of the fit of the palette `name`; make its folder."""
        (self.path / "fits").mkdir(exist_ok=True)
        return self.path / "fits" / f"{name}.json"

    # -- indices ------------------------------------------------------------------------------

    def start_indices(self, palette: str) -> None:
        """Make the group of the indices into `palette`; indices that it has already stay."""
        folder = self.path / "indices" / palette
        if not (folder / zarr_groups.SEAL).is_file():
            remove(folder)
            zarr_groups.rewrite_metadata(folder)
            zarr_groups.seal(folder, ())
        zarr_groups.sweep(folder)

    @property
    def _indexed(self) -> list[str]:
        return zarr_groups.members(self.path / "indices")

    def has_indices(self, palette: str, partition_id: str) -> bool:
        """Return whether the indices of a partition into `palette` are committed."""
        return zarr_groups.is_member(self.path / "indices" / palette / partition_id)

    def _remove_indices(self, palette: str) -> None:
        remove(self.path / "indices" / palette)

    @contextmanager
    def writing_indices(
        self, palette: str, partition_id: str, n_pixels: int, dtype: np.dtype[Any]
    ) -> Iterator[Callable[[NDArray[Any]], None]]:
        """Yield a function to append a partition's indices, committed when the block succeeds."""
        folder = self.path / "indices" / palette
        with zarr_groups.aside(folder, partition_id, replace=True) as group:
            chunk = max(1, min(zarr_groups.CHUNK_PIXELS, n_pixels))
            array = zarr_groups.create_array(group, "indices", (n_pixels,), (chunk,), dtype)
            buffer, done, filled = np.empty(chunk, dtype), 0, 0

            def append(indices: NDArray[Any]) -> None:
                nonlocal done, filled
                start = 0
                while start < len(indices):
                    size = min(len(indices) - start, chunk - filled)
                    buffer[filled : filled + size] = indices[start : start + size]
                    start, filled = start + size, filled + size
                    if filled == chunk:
                        array[done : done + chunk] = buffer
                        done, filled = done + chunk, 0

            yield append
            if filled:
                array[done : done + filled] = buffer[:filled]

    def indices(self, palette: str) -> list[zarr.Array[Any]]:
        """Return each partition's indices into `palette`, (n,). Raises StoreError without them."""
        folder = self.path / "indices" / palette
        done = zarr_groups.members(folder)
        missing = len(set(self.partition_ids) - set(done))
        if missing or not done:
            raise StoreError(
                f"{self.path} lacks the indices of palette {palette}: run "
                f"`kmeans-dask tokenize {self.path}`"
            )
        return [
            zarr_groups.open_group(folder / name, FORMS["indices"]).open("indices")
            for name in self.partition_ids
        ]
