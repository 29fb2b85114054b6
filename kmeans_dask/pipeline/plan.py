"""Which images there are, what their outputs will be called, and how they are partitioned."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kmeans_dask.errors import ImageError, UsageError
from kmeans_dask.imaging.decode import read_size
from kmeans_dask.settings import FORMATS, MAX_PIXELS, PARTITION_PIXELS

MAX_IMAGES = 4096  # in one partition

PALETTE_FILE = "palette.json"
FAILURES_FILE = "failures.jsonl"
RECORD_FILE = "report.json"
REPORT_FILE = "report.html"
_OUR_FILES = (PALETTE_FILE, FAILURES_FILE, RECORD_FILE, REPORT_FILE)
_SUFFIXES = tuple(f".{name}" for name in FORMATS if name != "tokens")


@dataclass(frozen=True)
class Source:
    """One image of the input.

    path: where it is
    kept_as: its name below the output folder when it is copied as it is
    stem: its name there when it is compressed, before `output_name` adds a suffix
    n_bytes, n_pixels: as the file system and the file's header have them
    """

    path: str
    kept_as: str
    stem: str
    n_bytes: int
    n_pixels: int


@dataclass(frozen=True)
class Failure:
    """A file of the input that is left out, and why, in one line."""

    path: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What will be done.

    inputs: the files and folders that were searched
    partitions: images that are ingested and encoded together; a unit of work
    failures: what can be seen already to be unreadable
    n_skipped: hidden files and folders, and links to folders, which are passed over
    """

    inputs: tuple[str, ...]
    partitions: tuple[tuple[Source, ...], ...]
    failures: tuple[Failure, ...]
    n_skipped: int

    @property
    def n_images(self) -> int:
        """Images that look readable."""
        return sum(map(len, self.partitions))

    @property
    def n_bytes(self) -> int:
        """Bytes of these."""
        return sum(source.n_bytes for partition in self.partitions for source in partition)

    @property
    def n_pixels(self) -> int:
        """Pixels of these, by their headers."""
        return sum(source.n_pixels for partition in self.partitions for source in partition)

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


def make_plan(
    inputs: Sequence[Path],
    *,
    partition_pixels: int = PARTITION_PIXELS,
    max_pixels: int = MAX_PIXELS,
) -> Plan:
    """Find the images in files and folders, and read their headers.

    Paths become absolute: workers may run in another folder. Folders are searched recursively,
    in the order of names; a file found twice is taken once, as found first. Raises UsageError
    where an input is missing, none holds an image, or two images would get the same name in the
    output.
    """
    found = _Found()
    for given in inputs:
        path = Path(os.path.realpath(given))
        if path.is_dir():
            found.search(path, PurePosixPath())
        elif path.exists():
            found.files.setdefault(path, PurePosixPath(given.name))
        else:
            raise UsageError(f"{given} does not exist: name a file or folder of images")

    readable: list[tuple[Path, PurePosixPath, int, int]] = []
    for path, name in found.files.items():
        try:
            width, height = read_size(path, max_pixels)
            n_bytes = path.stat().st_size
        except (ImageError, OSError) as error:
            found.failures.append(Failure(str(path), str(error)))
        else:
            readable.append((path, name, n_bytes, width * height))
    if not readable:
        first = found.failures[0] if found.failures else None
        why = f" ({Path(first.path).name}: {first.reason})" if first else ""
        raise UsageError(
            f"no image found in {', '.join(map(str, inputs))}{why}: name a file or folder of images"
        )
    stems = stems_of([name for _, name, *_ in readable])
    sources = [
        Source(str(path), str(name), str(stem), n_bytes, n_pixels)
        for (path, name, n_bytes, n_pixels), stem in zip(readable, stems, strict=True)
    ]
    _refuse_collisions(sources)
    return Plan(
        tuple(os.path.realpath(given) for given in inputs),
        tuple(cut(sources, partition_pixels)),
        tuple(found.failures),
        found.n_skipped,
    )


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


class _Found:
    """What searching the inputs comes upon: files with their names below the output."""

    def __init__(self) -> None:
        self.files: dict[Path, PurePosixPath] = {}
        self.failures: list[Failure] = []
        self.n_skipped = 0

    def search(self, folder: Path, name: PurePosixPath) -> None:
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
                self.files.setdefault(path, name / entry.name)


def _refuse_collisions(sources: Sequence[Source]) -> None:
    """Raise UsageError where two images, or an image and a file of ours, could share a name.

    In any format, so that what was planned can be written in each.
    """
    taken: dict[str, str] = {name: f"the job's own {name}" for name in _OUR_FILES}
    for source in sources:
        names = {output_name(source.kept_as, source.stem, suffix) for suffix in _SUFFIXES}
        for name in sorted({source.kept_as, *names}):
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
