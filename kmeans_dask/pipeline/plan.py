"""Which images there are, what their outputs will be called, and how they are partitioned."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import chain, count, islice
from pathlib import Path, PurePosixPath
from typing import Any

from kmeans_dask.errors import ImageError, UsageError
from kmeans_dask.imaging.decode import read_size
from kmeans_dask.pipeline.names import check_name
from kmeans_dask.settings import FORMATS, MAX_PIXELS, PARTITION_PIXELS
from kmeans_dask.storage import Place, Remote
from kmeans_dask.storage.remote import Listed, Status
from kmeans_dask.store.records import MAX_IMAGES, PlanRecord, SourceRecord

MAX_DEPTH = 256  # folders within folders
_AT_ONCE = 32  # objects whose beginnings are fetched

PALETTE_FILE = "palette.json"
FAILURES_FILE = "failures.jsonl"
RECORD_FILE = "report.json"
REPORT_FILE = "report.html"
WORK_FOLDER = ".kmeans-dask"  # in the output: what a job knows of itself
OUR_FILES = (PALETTE_FILE, FAILURES_FILE, RECORD_FILE, REPORT_FILE, WORK_FOLDER)
_SUFFIXES = tuple(f".{name}" for name in FORMATS if name != "tokens")


@dataclass(frozen=True)
class Source:
    """One image of the input.

    path: where it is
    kept_as: its name below the output folder when it is copied as it is
    stem: its name there when it is compressed, before `output_name` adds a suffix
    n_bytes, modified: as the file system has them, the latter in nanoseconds since 1970
    n_pixels: as the file's header has them
    digest: of all its bytes, where that was asked for
    """

    path: str
    kept_as: str
    stem: str
    n_bytes: int
    modified: int
    n_pixels: int
    digest: str | None = None

    @classmethod
    def of_record(cls, record: SourceRecord) -> Source:
        """What was all these. Raises StoreError where its names lead out of the output."""
        source = cls(*record)
        check_name(source.kept_as)
        check_name(source.stem)
        return source


@dataclass(frozen=True)
class Failure:
    """A file of the input that is left out, and why, in one line."""

    path: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What will be done.

    inputs: the files and folders that were searched
    partitions: by their ids, images that are ingested and encoded together; a unit of work
    failures: what can be seen already to be unreadable
    n_skipped: hidden files and folders, and links to folders, which are passed over
    generation: how many plans there were before it for the same store, and one
    settled: partitions with smaller numbers were finished before this plan was made
    first_free: the number of the next partition: none is used twice
    partition_pixels: of a partition, at most, but for one image
    """

    inputs: tuple[str, ...]
    partitions: Mapping[str, tuple[Source, ...]]
    failures: tuple[Failure, ...]
    n_skipped: int
    generation: int = 1
    settled: int = 0
    first_free: int = 0
    partition_pixels: int = PARTITION_PIXELS

    @property
    def sources(self) -> Iterator[Source]:
        """All images that look readable."""
        return chain.from_iterable(self.partitions.values())

    @property
    def unsettled(self) -> dict[str, tuple[Source, ...]]:
        """Partitions that were not finished before this plan was made."""
        return {
            name: sources for name, sources in self.partitions.items() if int(name) >= self.settled
        }

    @property
    def n_images(self) -> int:
        """How many these are."""
        return sum(map(len, self.partitions.values()))

    @property
    def n_bytes(self) -> int:
        """Bytes of these."""
        return sum(source.n_bytes for source in self.sources)

    @property
    def n_pixels(self) -> int:
        """Pixels of these, by their headers."""
        return sum(source.n_pixels for source in self.sources)

    def as_dict(self) -> dict[str, Any]:
        """The figures and failures, ready for JSON."""
        return {
            "images": self.n_images + len(self.failures),
            "failed": len(self.failures),
            "skipped": self.n_skipped,
            "pixels": self.n_pixels,
            "input_bytes": self.n_bytes,
            "partitions": len(self.partitions),
            "failures": [asdict(failure) for failure in self.failures],
        }

    def as_record(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        partitions = {
            name: [tuple(vars(source).values()) for source in sources]
            for name, sources in self.partitions.items()
        }
        return vars(self) | {
            "partitions": partitions,
            "failures": [asdict(failure) for failure in self.failures],
        }

    @classmethod
    def of_record(cls, record: PlanRecord) -> Plan:
        """What was such a record. Raises StoreError as `Source.of_record` does."""
        partitions = {
            name: tuple(map(Source.of_record, sources))
            for name, sources in record["partitions"].items()
        }
        return cls(
            record["inputs"],
            partitions,
            tuple(Failure(**failure) for failure in record["failures"]),
            record["n_skipped"],
            record["generation"],
            record["settled"],
            record["first_free"],
            record["partition_pixels"],
        )


MakePlan = Callable[[Mapping[str, Source]], Plan]  # from images that are known, by their paths


def make_plan(
    inputs: Sequence[Place],
    *,
    partition_pixels: int = PARTITION_PIXELS,
    max_pixels: int = MAX_PIXELS,
    known: Mapping[str, Source] | None = None,
    hashed: bool = False,
) -> Plan:
    """Find the images in files and folders, and read their headers.

    known: images by their paths; of those whose size and time of change are as they were, the
        header is not read again
    hashed: read all files, too, so that changes show that change neither

    Paths become absolute: workers may run in another folder. Folders are searched recursively,
    in the order of names; a file found twice is taken once, as found first. Raises UsageError
    where an input is missing, none holds an image, or two images would get the same name in the
    output.
    """
    found = _Found()
    for given in inputs:
        path = _absolute(given)
        if isinstance(path, Remote) and path.is_dir():
            found.search_objects(path)
        elif isinstance(path, Path) and path.is_dir():
            found.search(path, PurePosixPath())
        elif path.exists():
            found.add(path, PurePosixPath(given.name))
        else:
            raise UsageError(f"{given} does not exist: name a file or folder of images")

    readable: list[tuple[PurePosixPath, Source]] = []
    for name, path, look in _looks(found.files, known or {}):
        try:
            source = _look_at(look(), max_pixels, (known or {}).get(str(path)), hashed=hashed)
        except (ImageError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            found.failures.append(Failure(str(path), reason))
        else:
            readable.append((name, source))
    if not readable:
        first = found.failures[0] if found.failures else None
        why = f" ({Path(first.path).name}: {first.reason})" if first else ""
        raise UsageError(
            f"no image found in {', '.join(map(str, inputs))}{why}: name a file or folder of images"
        )
    stems = stems_of([name for name, _ in readable])
    sources = [
        replace(source, kept_as=str(name), stem=str(stem))
        for (name, source), stem in zip(readable, stems, strict=True)
    ]
    refuse_collisions(sources)
    partitions = numbered(cut(sources, partition_pixels))
    return Plan(
        tuple(str(_absolute(given)) for given in inputs),
        partitions,
        tuple(found.failures),
        found.n_skipped,
        first_free=len(partitions),
        partition_pixels=partition_pixels,
    )


def _absolute(given: Place) -> Place:
    """Where an input is, links followed."""
    return given if isinstance(given, Remote) else Path(os.path.realpath(given))


def _looks(
    files: Mapping[Place, PurePosixPath], known: Mapping[str, Source]
) -> Iterator[tuple[PurePosixPath, Place, Callable[[], Place]]]:
    """Files by name and place, with what waits for the beginnings of objects: many at once.

    Those that are known are not looked into.
    """
    waiting = iter(files.items())
    with ThreadPoolExecutor(_AT_ONCE) as threads:

        def look(path: Place) -> Callable[[], Place]:
            if not isinstance(path, Listed) or _is_known(known.get(str(path)), path.stat()):
                return lambda: path
            return threads.submit(path.with_head).result

        while some := list(islice(waiting, _AT_ONCE)):
            yield from [(name, path, look(path)) for path, name in some]


def _is_known(known: Source | None, status: os.stat_result | Status) -> bool:
    return known is not None and (known.n_bytes, known.modified) == (
        status.st_size,
        status.st_mtime_ns,
    )


def _look_at(path: Place, max_pixels: int, known: Source | None, *, hashed: bool) -> Source:
    """An image, its names still to be found. Raises ImageError or OSError."""
    status = path.stat()
    if known and _is_known(known, status):
        n_pixels = known.n_pixels
    else:
        width, height = read_size(path, max_pixels)
        n_pixels = width * height
    digest = None
    if hashed:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(str(path), "", "", status.st_size, status.st_mtime_ns, n_pixels, digest)


def numbered(
    partitions: Iterable[tuple[Source, ...]], first: int = 0
) -> dict[str, tuple[Source, ...]]:
    """Partitions with ids, from a number on."""
    return {f"{number:06d}": sources for number, sources in zip(count(first), partitions)}


def stems_of(names: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """Names of images without their suffix; with it where several in a folder differ in it only.

    >>> stems = stems_of([PurePosixPath(name) for name in ("b.jpg", "b.gif", "c.gif")])
    >>> [str(stem) for stem in stems]
    ['b.jpg', 'b.gif', 'c']
    """
    alike = Counter(name.with_suffix("") for name in names)
    return [name.with_suffix("") if alike[name.with_suffix("")] == 1 else name for name in names]


def output_name(kept_as: str, stem: str, suffix: str) -> str:
    """The name of a compressed image: `a/b.jpg` becomes `a/b.png`.

    `b.jpg` beside `b.png` becomes `b.jpg.png`, and `b.png` keeps its name.

    >>> output_name("b.jpg", "b", ".png"), output_name("b.jpg", "b.jpg", ".png")
    ('b.png', 'b.jpg.png')
    >>> output_name("b.png", "b.png", ".png"), output_name("b.png", "b.png", ".webp")
    ('b.png', 'b.png.webp')
    """
    return stem if stem == kept_as and stem.endswith(suffix) else stem + suffix


def names_of(kept_as: str, stem: str) -> list[str]:
    """All names below the output that an image may get: as it is, or in any format.

    >>> names_of("a.jpg", "a")
    ['a.gif', 'a.jpg', 'a.png', 'a.webp']
    """
    return sorted({kept_as, *(output_name(kept_as, stem, suffix) for suffix in _SUFFIXES)})


class _Found:
    """What searching the inputs comes upon: files with their names below the output."""

    def __init__(self) -> None:
        self.files: dict[Place, PurePosixPath] = {}
        self.failures: list[Failure] = []
        self.n_skipped = 0

    def search(self, folder: Path, name: PurePosixPath) -> None:
        if len(name.parts) > MAX_DEPTH:
            self.failures.append(Failure(str(folder), f"more than {MAX_DEPTH} folders deep"))
            return
        try:
            with os.scandir(folder) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.failures.append(Failure(str(folder), error.strerror or "cannot be listed"))
            return
        for entry in ordered:
            path = folder / entry.name
            if entry.name.startswith(".") or (entry.is_symlink() and path.is_dir()):
                self.n_skipped += 1
            elif entry.is_dir(follow_symlinks=False):
                self.search(path, name / entry.name)
            else:
                self.add(path, name / entry.name)

    def search_objects(self, top: Remote) -> None:
        """All objects below a name, in the order that folders would have them in."""
        found = sorted((path.relative_to(top).parts, path) for path in top.walk())
        folders = {parts[:depth] for parts, _ in found for depth in range(len(parts))}
        hidden = set()
        for parts, path in found:
            depth = next((i for i, part in enumerate(parts, 1) if part.startswith(".")), None)
            if depth:
                hidden.add(parts[:depth])
            elif len(parts) > MAX_DEPTH:
                self.failures.append(Failure(str(path), f"more than {MAX_DEPTH} folders deep"))
            elif parts not in folders or path.stat().st_size:  # else it stands for a folder
                self.add(path, PurePosixPath(*parts))
        self.n_skipped += len(hidden)

    def add(self, path: Place, name: PurePosixPath) -> None:
        """A file, unless it was found before."""
        self.files.setdefault(path, name)


def refuse_collisions(sources: Sequence[Source]) -> None:
    """Raise UsageError where two images, or an image and a file of ours, could share a name.

    In any format, so that what was planned can be written in each.
    """
    taken: dict[str, str] = {name: f"the job's own {name}" for name in OUR_FILES}
    for source in sources:
        for name in names_of(source.kept_as, source.stem):
            if name in taken:
                raise UsageError(
                    f"{source.path} and {taken[name]} would both become {name}: rename one, name "
                    "a folder that holds both, or compress them into different folders"
                )
            taken[name] = source.path
    for source in sources:
        for folder in PurePosixPath(source.kept_as).parents:
            if str(folder) in taken:
                raise UsageError(
                    f"{taken[str(folder)]} would become {folder}, the folder of {source.path}: "
                    "rename one, or compress them into different folders"
                )


def cut(sources: Sequence[Source], partition_pixels: int) -> Iterator[tuple[Source, ...]]:
    """Runs of images of at most `partition_pixels` together, or of one image."""
    run: list[Source] = []
    pixels = 0
    for source in sources:
        if run and (pixels + source.n_pixels > partition_pixels or len(run) == MAX_IMAGES):
            yield tuple(run)
            run, pixels = [], 0
        run.append(source)
        pixels += source.n_pixels
    if run:
        yield tuple(run)
