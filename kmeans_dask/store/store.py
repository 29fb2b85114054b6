"""The store: a Zarr v3 group, and what lies where in it.

    name.zarr/                attrs: format, format_version, versions, settings
      plan.json               of which images each partition is made, done or not, and a copy of
                              the attrs; sealed, and all of it once more in plan-copy.json
      partitions/<id>/        attrs: images, failures (a partition exists only once it is whole)
        pixels                (n, 3) uint8, straight sRGB, image after image
        alphas                (n,) uint8; only where some pixel is not opaque
        codes, weights        the partition's colour counts: (u,) uint32, (u,) int64
      colors/                 attrs: sums over all images, the generation of the plan
        codes, weights        the counts of all partitions together
      weighed/                weights: (u,) int64, of these colours, where images count the same
      palettes/<name>/        attrs: what fitted it, and how well
        centroids             (k, 3) float64
        entries, weights      (k, 4) uint8, straight sRGB and alpha; (k,) int64
      copies/<name>/          the palette of that name once more
      fits/<name>.json        how far a fit is that is at work, or was killed; sealed
      indices/<name>/<id>     (n,) uint8 or uint16: a partition's pixels as entries of a palette

Colour codes are those of `kmeans_dask.clustering.codes`, ascending. One group per partition makes
the unit of work the unit of commit: it is written aside and renamed into place, or in an object
store sealed last, so a partition that is there is whole. What is committed is sealed
(`kmeans_dask.store.groups`). A plan that grows is of a new generation; what was added up before is
not the total any more, until it is added up again.

A store may come from elsewhere, and is read as hostile: what is not laid out so, or leads
elsewhere by a link, is a StoreError of one line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.clustering.counts import ColorCounts
from kmeans_dask.errors import StoreError
from kmeans_dask.storage import Place, Remote
from kmeans_dask.storage.files import (
    DamagedError,
    copy_folder,
    is_passing,
    is_path,
    names_in,
    read_sealed,
    remove,
    write_sealed,
)
from kmeans_dask.store import groups, partition
from kmeans_dask.store.groups import Document
from kmeans_dask.store.partition import Partition, PartitionWriter, is_failure

if TYPE_CHECKING:
    import zarr


FORMAT = "kmeans-dask"
FORMAT_VERSION = 4
OURS = FORMAT, FORMAT_VERSION

_MAX_ENTRIES = (1 << 16) + 1  # of a palette
_VERSIONS_OF = ("kmeans-dask", "numpy", "numba", "pillow", "zarr")
PLANS = ("plan.json", "plan-copy.json")
MEMBERS = ("partitions", "palettes", "copies", "indices")
_LOCK = ".lock"
_LOCKS = (_LOCK, f"{_LOCK}-shared")
_BEGUN = ("zarr.json", groups.SEAL)  # what a store has of itself before it has a plan
_PARTITION_ID = re.compile(r"[0-9]{6,18}")  # of a plan: so that none leads elsewhere
_OF_PLAN = {
    "partitions": (dict,), "generation": (int,), "settled": (int,), "skipped": (dict,),
    "first_free": (int,), "partition_pixels": (int,),
    "inputs": (list, tuple), "failures": (list, tuple),
}  # fmt: skip
_MOST = 1 << 62  # of any number that is read
_SEEN: dict[Remote, tuple[str, zarr.Group]] = {}  # by this process: tags of seals, and groups
_NO_PLAN = "the store is damaged: its plan is none"


def refuse_links(path: Place) -> None:
    """Raise StoreError where a folder of the store at `path` is a link.

    To write there, or remove, would be elsewhere.
    """
    for name in ("colors", "weighed", "fits", *MEMBERS):
        if (path / name).is_symlink():
            raise StoreError(f"{path / name} is a link: no store has any")


@dataclass(frozen=True)
class StoredPalette:
    """What a fit left in the store.

    centroids: (k, 3) float64
    entries: (e, 4) uint8, straight sRGB and alpha, in index order
    weights: (e,) int64, pixels of each entry
    attrs: how it was fitted
    """

    centroids: NDArray[np.float64]
    entries: NDArray[np.uint8]
    weights: NDArray[np.int64]
    attrs: Mapping[str, Any]


class Store:
    """A store at a path or URL. Make one with `create`, or `open` one that is there."""

    def __init__(self, path: Place, root: zarr.Group) -> None:
        self.path = path
        self._root = root

    @classmethod
    def create(cls, path: Place, plan: Mapping[str, Any], attrs: Mapping[str, Any]) -> Store:
        """A new, empty store. Raises StoreError where there is something already.

        plan: as `write_plan` has it
        """
        if path.exists() and not cls.is_free(path):
            raise StoreError(f"{path} exists already: choose another path or remove it first")
        path.mkdir(parents=True, exist_ok=True)
        for name in names_in(path) - set(_LOCKS):  # of a run that was killed in this very method
            remove(path / name)
        versions = {name: metadata.version(name) for name in _VERSIONS_OF}
        of_format = {"format": FORMAT, "format_version": FORMAT_VERSION, "versions": versions}
        groups.rewrite_metadata(path, {**of_format, **attrs})
        for name in MEMBERS:
            groups.rewrite_metadata(path / name, {})
        groups.seal(path, MEMBERS)
        root = groups.find_group(path, "r+")
        store = cls(path, root)
        store.write_plan(plan)
        return store

    @classmethod
    def open(cls, path: Place) -> Store:
        """Open the store at `path`. Raises StoreError where there is none that we can read."""
        return cls._open_again(path) if isinstance(path, Remote) else cls._open(path)

    @classmethod
    def _open_again(cls, path: Remote) -> Store:
        """The same at the price of one request, where its seal is as this process has seen it.

        Every task opens its store, and all that opening looks at are a dozen objects.
        """
        seal = path / groups.SEAL
        tag = seal.tagged().tag if path in _SEEN else None
        if path not in _SEEN or _SEEN[path][0] != tag:
            store = cls._open(path)
            _SEEN[path] = seal.tagged().tag, store._root
        return cls(path, _SEEN[path][1])

    @classmethod
    def _open(cls, path: Place) -> Store:
        if not cls.is_at(path):
            raise StoreError(f"{path} is no store: make one with `kmeans-dask ingest INPUT {path}`")
        refuse_links(path)
        found = groups.format_of(path)
        if found not in (OURS, None):
            raise StoreError(
                f"{path} has format {found[0]} {found[1]}; this version reads {FORMAT} "
                f"{FORMAT_VERSION}"
            )
        if any((path / name).exists() for name in PLANS):
            groups.check_seal(path)
        groups.check_document(path)
        if found is None:
            raise StoreError(f"{path} is not a store of kmeans-dask")
        return cls(path, groups.find_group(path, "r+"))

    @staticmethod
    def is_at(path: Place) -> bool:
        """Whether there is something that may be a store, finished or not."""
        there = any((path / name).exists() for name in ("zarr.json", *PLANS))
        return there and not Store.is_free(path)

    @staticmethod
    def is_free(path: Place) -> bool:
        """Whether there is nothing, or what is left of a run that was killed while it began."""
        if not path.is_dir():
            return not path.exists()
        left = names_in(path) - set(_LOCKS)
        if any(name in PLANS for name in left):  # the last that is written
            return False
        for name in left:
            member = path / name
            is_folder = name in MEMBERS and member.is_dir() and not member.is_symlink()
            inside = names_in(member) if is_folder else {name}
            if any(each not in _BEGUN and not is_passing(each) for each in inside):
                return False
        return "zarr.json" not in left or groups.format_of(path) == OURS

    @staticmethod
    def lock_file(path: Place) -> Place:
        """What a run holds that writes to the store at `path`."""
        return path / _LOCK

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the whole store. Raises StoreError for one that is not there."""
        return Document(self._root.attrs)

    # -- the plan -----------------------------------------------------------------------------

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Store what is to be in the store, in place of what was planned before.

        It has the partitions, an object whose names are their ids, and its generation, a number.
        """
        for name in PLANS:
            write_sealed(self.path / name, {**plan, "attrs": self.attrs})
        self.__dict__.pop("plan", None)

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What was planned last. Raises StoreError where that cannot be read."""
        for name in PLANS:  # one may be damaged, or older: the first is written first
            with suppress(DamagedError, OSError):
                plan = check_plan(read_sealed(self.path / name))
                plan.pop("attrs", None)  # of the whole store
                return plan
        raise StoreError(f"{self.path} is damaged: its plan is lost")

    @property
    def is_planned_twice(self) -> bool:
        """Whether both copies of the plan are there, and the same."""
        try:
            first, second = (read_sealed(self.path / name) for name in PLANS)
        except (DamagedError, OSError):
            return False
        return bool(first == second)

    @property
    def missing_partitions(self) -> list[str]:
        """Ids of what was planned and is not there, ascending."""
        return sorted(set(self.plan["partitions"]) - set(self.committed_partitions))

    def remove_unplanned(self) -> None:
        """Remove partitions that are not in the plan any more, and what killed tasks left."""
        self.sweep()
        for name in set(self.committed_partitions) - set(self.plan["partitions"]):
            self.remove_partition(name)

    def sweep(self) -> None:
        """Remove what killed runs and tasks have left. Nobody else may be writing."""
        folders = ("fits", *MEMBERS, *(f"indices/{name}" for name in self._indexed))
        for folder in (self.path, *(self.path / name for name in folders)):
            groups.sweep(folder, keep=(*MEMBERS, "fits"))

    # -- partitions ---------------------------------------------------------------------------

    @property
    def partition_ids(self) -> list[str]:
        """Ids of the partitions that are planned, ascending."""
        return sorted(self.plan["partitions"])

    @property
    def committed_partitions(self) -> list[str]:
        """Ids of the partitions that are there, ascending."""
        return groups.members(self.path / "partitions")

    def has_partition(self, partition_id: str) -> bool:
        """Whether that partition is there."""
        return groups.is_member(self.path / "partitions" / partition_id)

    def remove_partition(self, partition_id: str) -> None:
        """Remove a partition, and its indices."""
        indices = self.path / "indices"
        palettes = [indices / name for name in groups.members(indices)]
        for folder in (self.path / "partitions", *palettes):
            remove(folder / partition_id, groups.SEAL)

    @property
    def is_counted(self) -> bool:
        """Whether all partitions have been added up: the last thing that ingestion does."""
        there = groups.is_member(self.path / "colors")
        return there and self.colors_attrs["generation"] == self.plan["generation"]

    def require_whole(self) -> None:
        """Raise StoreError unless ingestion is finished: all partitions, and their total."""
        missing, expected = len(self.missing_partitions), len(self.plan["partitions"])
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
        """Write a partition of at most `n_pixels`; it is in the store when the block ends well.

        Where it got there first by another attempt, whose bytes are the same, that one stays.
        """
        with (
            groups.aside(self.path / "partitions", partition_id) as group,
            PartitionWriter(group, n_pixels) as writer,
        ):
            yield writer
            writer.finish()

    def partition(self, partition_id: str) -> Partition:
        """A partition that is there."""
        return Partition(groups.open_group(self.path / "partitions" / partition_id))

    def check_partition(self, partition_id: str) -> None:
        """Read all of a partition. Raises StoreError where anything is damaged."""
        groups.check_group(self.path / "partitions" / partition_id)

    # -- colours ------------------------------------------------------------------------------

    def write_colors(self, counts: ColorCounts, attrs: Mapping[str, Any]) -> None:
        """Store the total of all partitions' counts, and what else was added up.

        attrs: with the generation of the plan
        """
        remove(self.path / "weighed", groups.SEAL)  # of other colours, in any case
        with groups.aside(self.path, "colors", replace=True) as group:
            groups.write_counts(group, counts)
            group.attrs.update(attrs)

    def read_colors(self, start: int = 0, stop: int | None = None) -> ColorCounts:
        """Colours `start` to `stop` of the total."""
        return groups.read_counts(groups.open_group(self.path / "colors"), start, stop)

    def write_weighed(self, weights: NDArray[np.int64]) -> None:
        """Store what the total's colours weigh where every image counts the same."""
        with groups.aside(self.path, "weighed", replace=True) as group:
            groups.write(group, "weights", weights)

    @property
    def is_weighed(self) -> bool:
        """Whether that is there."""
        return groups.is_member(self.path / "weighed")

    def read_weighed(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """What colours `start` to `stop` of the total weigh, (u,) int64."""
        group = groups.open_group(self.path / "weighed")
        return groups.read(groups.open_array(group, "weights"), slice(start, stop))

    @property
    def colors_attrs(self) -> dict[str, Any]:
        """What was stored with the total."""
        return Document(groups.open_group(self.path / "colors").attrs)

    @property
    def n_colors(self) -> int:
        """Distinct colours in the total."""
        return groups.open_array(groups.open_group(self.path / "colors"), "codes").shape[0]

    # -- palettes -----------------------------------------------------------------------------

    @property
    def palette_names(self) -> list[str]:
        """Names of the palettes that are there, the latest last."""
        return sorted(groups.members(self.path / "palettes"), key=self._palette_number)

    @property
    def palette_names_twice(self) -> list[str]:
        """Names of palettes, of which one copy may be damaged, or missing."""
        folders = (self.path / "palettes", self.path / "copies")
        return sorted({name for folder in folders for name in groups.members(folder)})

    def _palette_number(self, name: str) -> int:
        number = Document(groups.open_group(self.path / "palettes" / name).attrs)["number"]
        if not isinstance(number, int):
            raise StoreError(f"{self.path} is damaged: palette {name} has no number")
        return number

    def write_palette(self, name: str, palette: StoredPalette) -> None:
        """Store a palette in place of one of the same name, whose indices go with it."""
        self._remove_indices(name)
        copy = self.path / "copies" / name
        remove(copy, groups.SEAL)  # first: it is never one of another palette
        number = max(map(self._palette_number, self.palette_names), default=0) + 1
        with groups.aside(self.path / "palettes", name, replace=True) as group:
            groups.write(group, "centroids", palette.centroids)
            groups.write(group, "entries", palette.entries)
            groups.write(group, "weights", palette.weights)
            group.attrs.update({**palette.attrs, "number": number})
        self.settle_palette(name)

    def settle_palette(self, name: str) -> None:
        """Do the last of `write_palette`, if a killed run has left that undone."""
        copy = self.path / "copies" / name
        if not groups.is_member(copy):
            copy_folder(self.path / "palettes" / name, copy, groups.SEAL)
        self.fit_file(name).unlink(missing_ok=True)

    def read_palette(self, name: str) -> StoredPalette:
        """The palette `name`. Raises StoreError where there is none."""
        if name not in self.palette_names:
            names = ", ".join(self.palette_names) or "none: run `kmeans-dask fit` first"
            raise StoreError(f"{self.path} has no palette {name}; it has {names}")
        group = groups.open_group(self.path / "palettes" / name)
        attrs = {key: value for key, value in group.attrs.items() if key != "number"}
        arrays = [groups.open_array(group, each) for each in ("centroids", "entries", "weights")]
        if any(array.shape[0] > _MAX_ENTRIES for array in arrays):
            raise StoreError(f"{self.path} is damaged: palette {name} is too large")
        centroids, entries, weights = map(groups.read, arrays)
        if not 0 < len(entries) == len(weights):
            raise StoreError(f"{self.path} is damaged: palette {name} is none")
        return StoredPalette(centroids, entries, weights, attrs)

    def fit_file(self, name: str) -> Place:
        """Where it is kept how far the fit of the palette `name` is."""
        (self.path / "fits").mkdir(exist_ok=True)
        return self.path / "fits" / f"{name}.json"

    # -- indices ------------------------------------------------------------------------------

    def start_indices(self, palette: str) -> None:
        """Make room for indices into `palette`; what is there already stays."""
        folder = self.path / "indices" / palette
        if not (folder / groups.SEAL).is_file():
            remove(folder)
            groups.rewrite_metadata(folder, {})
            groups.seal(folder, ())
        groups.sweep(folder)

    @property
    def _indexed(self) -> list[str]:
        return groups.members(self.path / "indices")

    def has_indices(self, palette: str, partition_id: str) -> bool:
        """Whether the indices of that partition are there."""
        return groups.is_member(self.path / "indices" / palette / partition_id)

    def _remove_indices(self, palette: str) -> None:
        remove(self.path / "indices" / palette)

    @contextmanager
    def writing_indices(
        self, palette: str, partition_id: str, n_pixels: int, dtype: np.dtype[Any]
    ) -> Iterator[Callable[[NDArray[Any]], None]]:
        """Append a partition's indices; they are in the store when the block ends well."""
        folder = self.path / "indices" / palette
        with groups.aside(folder, partition_id, replace=True) as group:
            chunk = max(1, min(partition.CHUNK_PIXELS, n_pixels))
            array = groups.create_array(group, "indices", (n_pixels,), (chunk,), dtype)
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
        """Each partition's indices into `palette`, (n,). Raises StoreError for missing ones."""
        folder = self.path / "indices" / palette
        done = groups.members(folder)
        missing = len(set(self.partition_ids) - set(done))
        if missing or not done:
            raise StoreError(
                f"{self.path} lacks the indices of palette {palette}: run `kmeans-dask encode "
                f"{self.path} --format tokens`"
            )
        return [
            groups.open_array(groups.open_group(folder / name), "indices")
            for name in self.partition_ids
        ]


def check_plan(plan: Any) -> dict[str, Any]:
    """What was sealed as a plan, of which nothing that is asked for may be missing.

    The images of its partitions are not looked at. Raises StoreError where it is no plan.
    """
    if not isinstance(plan, dict):
        raise StoreError(_NO_PLAN)
    found = Document(plan)
    partitions, _ = found["partitions"], found["generation"]  # which none may lack
    is_plan = (
        all(type(found[name]) in kinds for name, kinds in _OF_PLAN.items() if name in found)
        and all(map(_PARTITION_ID.fullmatch, partitions))
        and all(isinstance(each, list | tuple) for each in partitions.values())
        and all(0 <= found.get(name, 0) < _MOST for name in ("generation", "settled"))
        and all(type(n) is int and 0 <= n < _MOST for n in found.get("skipped", {}).values())
        and all(map(is_path, found.get("inputs", ())))
        and all(map(is_failure, found.get("failures", ())))
    )
    if not is_plan:
        raise StoreError(_NO_PLAN)
    return found
