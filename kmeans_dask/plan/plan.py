"""Plan of a job: the images that its inputs have, and their division into partitions."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from fnmatch import fnmatchcase
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from kmeans_dask.errors import ImageError, UsageError
from kmeans_dask.files import Location, ObjectPath, is_within, parse_location
from kmeans_dask.files.object_path import Listed
from kmeans_dask.images import inspector
from kmeans_dask.images.inspector import Answer, Question
from kmeans_dask.option_checks import Limits, check_options
from kmeans_dask.plan.name_checks import check_name
from kmeans_dask.plan.output_names import assign_names, names_of
from kmeans_dask.settings import IMAGE_SECONDS, MAX_PIXELS, PARTITION_PIXELS
from kmeans_dask.store.records import MAX_IMAGES, Failure, PlanRecord, SourceRecord

MAX_DEPTH = 256  # levels of folders within folders
_AT_ONCE = 32  # objects whose beginnings are fetched at the same time
_SPECIAL = ("hidden", "links", "excluded")  # keys of `Plan.skipped` that are no suffixes
_NAMED = 6  # suffixes that a message names, at most
_PATTERNS = "patterns of names, such as ['*.png']"


@dataclass(frozen=True)
class Search:
    """Patterns that choose files in folders, such as `*.png`, `thumbs` or `2024/*/a?.jpg`.

    include: patterns of which a file must match one, if there are any
    exclude: patterns that neither a file nor a folder on the way to the file may match

    A pattern without a slash is compared with the name of a file or folder; a pattern with a slash
    is compared with the whole path below the input. Raises UsageError where one is no text.
    """

    include: Annotated[Sequence[str], Limits(_PATTERNS)] = ()
    exclude: Annotated[Sequence[str], Limits(_PATTERNS)] = ()

    def __post_init__(self) -> None:
        check_options(self)

    def wants(self, name: PurePosixPath) -> bool:
        """Return whether the patterns choose the file at path `name` below the input.

        Folders on the way are not compared: a search passes over folders that are excluded.

        >>> search = Search(include=("*.png",), exclude=("thumbs", "old/*"))
        >>> [search.wants(PurePosixPath(name)) for name in ("a/b.png", "a.jpg", "old/a/b.png")]
        [True, False, False]
        """
        included = not self.include or any(_matches(name, each) for each in self.include)
        return included and not self.excludes(name)

    def excludes(self, name: PurePosixPath) -> bool:
        """Return whether a pattern excludes the file or folder at path `name` below the input."""
        return any(_matches(name, each) for each in self.exclude)


def _matches(name: PurePosixPath, pattern: str) -> bool:
    pattern = pattern.rstrip("/")
    return fnmatchcase(str(name) if "/" in pattern else name.name, pattern.lstrip("/"))


@dataclass(frozen=True)
class Source:
    """Image of the input, as it was found when the plan was made.

    path: absolute path, or address of an object
    kept_as: name below the output folder where the image is copied as it is
    stem: name below the output folder where it is compressed, before `output_name` adds a suffix
    n_bytes: size of the file
    modified: time of its last change, in nanoseconds since 1970
    n_pixels: number of pixels, by the header of the file
    pixel_bytes: bytes of memory per pixel while the image is decoded, at most
    digest: SHA-256 of the file, in hexadecimal digits; None where it was not asked for
    """

    path: str
    kept_as: str
    stem: str
    n_bytes: int
    modified: int
    n_pixels: int
    pixel_bytes: int
    digest: str | None = None

    @classmethod
    def of_record(cls, record: SourceRecord) -> Source:
        """Return the source of a record. Raises StoreError where `check_name` refuses its names."""
        source = cls(*record)
        check_name(source.kept_as)
        check_name(source.stem)
        return source


@dataclass(frozen=True)
class Plan:
    """Plan of a job: its images in partitions, and the files that are left out.

    inputs: the files and folders that were searched
    partitions: images by the id of their partition; those of a partition are ingested and encoded
        together, as a unit of work
    failures: files and folders that are known to be unreadable
    skipped: numbers of files that were passed over, by suffix ("" for none); also of "hidden" files
        and folders, of "links" to folders, and of files and folders that are "excluded"
    generation: number of this plan among the plans of its store, from 1
    settled: partitions with smaller numbers were finished before this plan was made
    first_free: number of the next new partition; no number is used twice
    partition_pixels: pixels of a partition, at most, unless one image alone has more
    """

    inputs: tuple[str, ...]
    partitions: Mapping[str, tuple[Source, ...]]
    failures: tuple[Failure, ...]
    skipped: Mapping[str, int]
    generation: int = 1
    settled: int = 0
    first_free: int = 0
    partition_pixels: int = PARTITION_PIXELS

    @property
    def sources(self) -> Iterator[Source]:
        """Return all images of the plan, those whose headers could be read."""
        return chain.from_iterable(self.partitions.values())

    @property
    def unsettled(self) -> dict[str, tuple[Source, ...]]:
        """Return the partitions that were not finished before this plan was made, by id."""
        return {
            name: sources for name, sources in self.partitions.items() if int(name) >= self.settled
        }

    @property
    def n_images(self) -> int:
        """Return the number of images in the plan."""
        return sum(map(len, self.partitions.values()))

    @property
    def n_bytes(self) -> int:
        """Return the bytes of all image files in the plan."""
        return sum(source.n_bytes for source in self.sources)

    @property
    def n_pixels(self) -> int:
        """Return the number of pixels of all images in the plan, by their headers."""
        return sum(source.n_pixels for source in self.sources)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures and failures of the plan, ready for JSON."""
        return {
            "images": self.n_images + len(self.failures),
            "failed": len(self.failures),
            "skipped": sum(self.skipped.values()),
            "skipped_by_suffix": dict(self.skipped),
            "pixels": self.n_pixels,
            "input_bytes": self.n_bytes,
            "partitions": len(self.partitions),
            "failures": [asdict(failure) for failure in self.failures],
        }

    def as_record(self) -> PlanRecord:
        """Return the record of the plan, which is kept in files; `of_record` is the reverse."""
        partitions: dict[str, Any] = {
            name: tuple(tuple(vars(source).values()) for source in sources)
            for name, sources in self.partitions.items()
        }
        return PlanRecord(**vars(self) | {"partitions": partitions})

    @classmethod
    def of_record(cls, record: PlanRecord) -> Plan:
        """Return the plan of a record. Raises StoreError where `check_name` refuses a name."""
        partitions = {
            name: tuple(map(Source.of_record, sources))
            for name, sources in record.partitions.items()
        }
        kept = {each.name: getattr(record, each.name) for each in fields(cls)}
        return cls(**kept | {"partitions": partitions})


MakePlan = Callable[[Mapping[str, Source]], Plan]  # takes the images that are known, by their paths


def make_plan(
    inputs: Sequence[Location],
    *,
    partition_pixels: int = PARTITION_PIXELS,
    max_pixels: int = MAX_PIXELS,
    seconds: float = IMAGE_SECONDS,
    search: Search = Search(),
    known: Mapping[str, Source] | None = None,
    hashed: bool = False,
) -> Plan:
    """Return the plan of all images in files and folders, from the headers of the images.

    seconds: time limit for reading one header
    known: images of an earlier plan, by path; where size and time of change are the same, the
        header is not read again
    hashed: read every file for its digest, which shows changes that leave size and time the same

    Paths become absolute, because workers may run in another folder. Folders are searched
    recursively, in the order of names; a file that is found twice is planned once, with the name
    that was found first.

    Raises UsageError where an input is missing, or there is no readable image.
    """
    known = known or {}
    found = _Found(search)
    for given in inputs:
        path = real_place(given)
        if isinstance(path, ObjectPath) and path.is_dir():
            found.search_objects(path)
        elif isinstance(path, Path) and path.is_dir():
            found.search(path, PurePosixPath())
        elif path.exists():
            found.name(path, PurePosixPath(given.name))
        else:
            raise UsageError(f"{given} does not exist: name a file or folder of images")

    readable: list[tuple[PurePosixPath, Source]] = []
    for name, path, answer in _headers(found.files, known, max_pixels, seconds):
        if isinstance(answer, Answer) and answer.no_image and path not in found.named:
            found.skipped[name.suffix.lower()] += 1
            continue
        try:
            readable.append((name, _source(path, answer, hashed=hashed)))
        except (ImageError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            found.failures.append(Failure(str(path), reason))
    if not readable:
        raise UsageError(_nothing(inputs, found))
    searched = [real_place(given) for given in inputs]
    taken = [
        name
        for source in known.values()
        if not any(is_within(parse_location(source.path), each) for each in searched)
        for name in names_of(source.kept_as, source.stem)
    ]
    assigned = assign_names([name for name, _ in readable], taken)
    sources = [
        replace(source, kept_as=kept_as, stem=stem)
        for (_, source), (kept_as, stem) in zip(readable, assigned, strict=True)
    ]
    partitions = numbered(cut(sources, partition_pixels))
    return Plan(
        tuple(map(str, searched)),
        partitions,
        tuple(found.failures),
        dict(sorted(found.skipped.items())),
        first_free=len(partitions),
        partition_pixels=partition_pixels,
    )


def real_place(given: Location) -> Location:
    """Return `given` with symbolic links followed; raises no error for a loop of links."""
    return given if isinstance(given, ObjectPath) else Path(os.path.realpath(given))


def _nothing(inputs: Sequence[Location], found: _Found) -> str:
    """Return the message for inputs without an image."""
    first = found.failures[0] if found.failures else None
    why = f" ({Path(first.path).name}: {first.reason})" if first else ""
    if not first and found.skipped:
        why = f" ({describe_skipped(found.skipped)})"
    where = ", ".join(map(str, inputs))
    or_else = ", or change --include and --exclude" if found.skipped["excluded"] else ""
    return f"no image found in {where}{why}: name a file or folder of images{or_else}"


def describe_skipped(skipped: Mapping[str, int]) -> str:
    """Describe in words which files were skipped.

    >>> describe_skipped({".json": 5, ".txt": 1, "hidden": 2})
    '6 other files: 5 .json, 1 .txt; 2 hidden'
    """
    special = [f"{skipped[kind]:,} {kind}" for kind in _SPECIAL if skipped.get(kind)]
    others = {kind: n for kind, n in skipped.items() if kind not in _SPECIAL}
    if not others:
        return "; ".join(special)
    ordered = sorted(others.items(), key=lambda each: (-each[1], each[0]))
    named = [f"{n:,} {kind or 'without a suffix'}" for kind, n in ordered[:_NAMED]]
    rest = sum(n for _, n in ordered[_NAMED:])
    listed = ", ".join([*named, *([f"{rest:,} more"] if rest else [])])
    n = sum(others.values())
    return "; ".join([f"{n:,} other file{'s' * (n != 1)}: {listed}", *special])


def _headers(
    files: Mapping[Location, PurePosixPath],
    known: Mapping[str, Source],
    max_pixels: int,
    seconds: float,
) -> Iterator[tuple[PurePosixPath, Location, Source | Answer]]:
    """Yield for each file its name, its path, and its known source or else its header.

    A source counts as known while its size and time of change are the same. The beginnings of
    several objects of an object store are fetched at the same time.
    """
    unknown: list[Location] = []
    same: dict[Location, Source] = {}
    for path in files:
        source = known.get(str(path))
        if source and _is_as_known(source, path):
            same[path] = source
        else:
            unknown.append(path)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        answers = inspector.ask(_questions(unknown, max_pixels, seconds, threads))
        for path, name in files.items():
            yield name, path, same.get(path) or next(answers)


def _questions(
    paths: Sequence[Location], max_pixels: int, seconds: float, threads: ThreadPoolExecutor
) -> Iterator[Question]:
    for start in range(0, len(paths), _AT_ONCE):
        some = paths[start : start + _AT_ONCE]
        heads = [
            threads.submit(_with_head, path) if isinstance(path, Listed) else None for path in some
        ]
        for path, head in zip(some, heads, strict=True):
            known = head.result() if head else path
            yield inspector.header_question(known, max_pixels, seconds)


def _with_head(path: Listed) -> Location:
    try:
        return path.with_head()
    except OSError:  # the inspector will fail as well, and report why
        return path


def _is_as_known(known: Source, path: Location) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return (known.n_bytes, known.modified) == (status.st_size, status.st_mtime_ns)


def _source(path: Location, found: Source | Answer, *, hashed: bool) -> Source:
    """Return the source of an image, without names as yet. Raises ImageError or OSError.

    found: source of an earlier plan, or the inspector's answer about the header
    hashed: read the file for its digest
    """
    if isinstance(found, Source):
        n_pixels, pixel_bytes = found.n_pixels, found.pixel_bytes
    else:
        width, height = found.to_size()
        n_pixels, pixel_bytes = width * height, found.pixel_bytes
    status = path.stat()
    digest = None
    if hashed:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    size, modified = status.st_size, status.st_mtime_ns
    return Source(str(path), "", "", size, modified, n_pixels, pixel_bytes, digest)


def numbered(
    partitions: Iterable[tuple[Source, ...]], first: int = 0
) -> dict[str, tuple[Source, ...]]:
    """Return partitions by their ids, which are numbers from `first` on, in six digits."""
    return {f"{number:06d}": sources for number, sources in zip(count(first), partitions)}


class _Found:
    """Files that a search of the inputs has found, by path, with their names below the input.

    named: files that are inputs themselves, not found in a folder
    failures: folders that could not be searched, and files too deep in folders
    skipped: numbers of files that were passed over, as in `Plan`
    """

    def __init__(self, search: Search) -> None:
        self.files: dict[Location, PurePosixPath] = {}
        self.named: set[Location] = set()
        self.failures: list[Failure] = []
        self.skipped: Counter[str] = Counter()
        self._search = search

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
            if entry.name.startswith("."):
                self.skipped["hidden"] += 1
            elif entry.is_symlink() and path.is_dir():
                self.skipped["links"] += 1
            elif entry.is_dir(follow_symlinks=False):
                if self._search.excludes(name / entry.name):
                    self.skipped["excluded"] += 1
                else:
                    self.search(path, name / entry.name)
            else:
                self.add(path, name / entry.name)

    def search_objects(self, top: ObjectPath) -> None:
        """Find all objects below the name `top`, in the order in which folders would have them."""
        found = sorted((path.relative_to(top).parts, path) for path in top.walk())
        folders = {parts[:depth] for parts, _ in found for depth in range(len(parts))}
        passed: dict[tuple[str, ...], str] = {}
        for parts, path in found:
            why = self._passed_over(parts)
            if why:
                passed[parts[: why[0]]] = why[1]
            elif len(parts) > MAX_DEPTH:
                self.failures.append(Failure(str(path), f"more than {MAX_DEPTH} folders deep"))
            elif parts not in folders or path.stat().st_size:  # else the object marks a folder
                self.add(path, PurePosixPath(*parts))
        self.skipped.update(passed.values())

    def _passed_over(self, parts: Sequence[str]) -> tuple[int, str] | None:
        """Return the depth of the first part to skip, and the reason: "hidden" or "excluded".

        Return None where no part is hidden, and no folder on the way is excluded.
        """
        for depth, part in enumerate(parts, 1):
            if part.startswith("."):
                return depth, "hidden"
            if depth < len(parts) and self._search.excludes(PurePosixPath(*parts[:depth])):
                return depth, "excluded"
        return None

    def add(self, path: Location, name: PurePosixPath) -> None:
        """Add a file that was found in a folder, or count it as excluded; add no file twice."""
        if self._search.wants(name):
            self.files.setdefault(path, name)
        else:
            self.skipped["excluded"] += 1

    def name(self, path: Location, name: PurePosixPath) -> None:
        """Add a file that is an input itself: no pattern excludes it, and it must be an image."""
        self.files.setdefault(path, name)
        self.named.add(path)


def cut(sources: Sequence[Source], partition_pixels: int) -> Iterator[tuple[Source, ...]]:
    """Yield partitions: runs of images that have at most `partition_pixels` pixels together.

    A partition has at most `MAX_IMAGES` images; one image alone may have more pixels.
    """
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
