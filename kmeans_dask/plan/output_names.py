"""Names of output files, chosen so that no two images, folders or files of a job share one.

The rule is the same for any file system:

1. An image that is copied as it is keeps its name. Where another input has the same name, or a
   folder or a file of the job has it, the later image gets `-2` (`-3`, ...) before its suffix.
2. A compressed image gets the suffix of its format: `b.jpg` becomes `b.png`. Where images of a
   folder differ only in the suffix, each keeps its own too: `b.jpg.png`, `b.gif.png`; a PNG keeps
   its name.
3. Where another image has that name, or could have it in any format, `-2`, `-3`, ... are added.

Names that differ only in capitals, or in their form of Unicode, count as the same, because some
file systems treat them as the same.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import PurePosixPath

from kmeans_dask.settings import FORMATS

PALETTE_FILE = "palette.json"
FAILURES_FILE = "failures.jsonl"
RECORD_FILE = "report.json"
REPORT_FILE = "report.html"
WORK_FOLDER = ".kmeans-dask"  # folder in the output: settings, plan and records of the job
OUR_FILES = (PALETTE_FILE, FAILURES_FILE, RECORD_FILE, REPORT_FILE, WORK_FOLDER)
_SUFFIXES = tuple(f".{name}" for name in FORMATS if name != "tokens")


def output_name(kept_as: str, stem: str, suffix: str) -> str:
    """Return the name of a compressed image: `a/b.jpg` becomes `a/b.png`.

    Beside a `b.png`, `b.jpg` has the stem `b.jpg` and becomes `b.jpg.png`; `b.png` keeps its name.

    >>> output_name("b.jpg", "b", ".png"), output_name("b.jpg", "b.jpg", ".png")
    ('b.png', 'b.jpg.png')
    >>> output_name("b.png", "b.png", ".png"), output_name("b.png", "b.png", ".webp")
    ('b.png', 'b.png.webp')
    """
    return stem if stem == kept_as and stem.endswith(suffix) else stem + suffix


def names_of(kept_as: str, stem: str) -> list[str]:
    """Return all names below the output that an image may get: copied as it is, or in any format.

    >>> names_of("a.jpg", "a")
    ['a.gif', 'a.jpg', 'a.png', 'a.webp']
    """
    return sorted({kept_as, *(output_name(kept_as, stem, suffix) for suffix in _SUFFIXES)})


def assign_names(
    names: Sequence[PurePosixPath], taken: Iterable[str] = ()
) -> list[tuple[str, str]]:
    """Return two names for each image: its name where it is copied, and its stem where compressed.

    names: names of the images, below the input
    taken: names that other images have already

    >>> assign_names([PurePosixPath(name) for name in ("b.jpg", "b.gif", "c.gif")])
    [('b.jpg', 'b.jpg'), ('b.gif', 'b.gif'), ('c.gif', 'c')]
    >>> [output_name(*each, ".png") for each in assign_names(
    ...     [PurePosixPath(name) for name in ("cat.jpg", "cat.jpg.png", "cat.png")])]
    ['cat-2.png', 'cat.jpg.png', 'cat.png']
    """
    folders = {folded(str(parent)) for name in names for parent in name.parents}
    palettes = {str(PurePosixPath(folder, PALETTE_FILE)) for folder in folders}
    used = {*map(folded, OUR_FILES), *map(folded, taken), *folders, *palettes}
    kept = [_free(name, used) for name in names]
    alike = Counter(folded(str(PurePosixPath(each).with_suffix(""))) for each in kept)
    return [(each, _stem(each, alike, used)) for each in kept]


def _free(name: PurePosixPath, used: set[str]) -> str:
    """Return `name`, with a number where it is used already, and add the result to `used`."""
    for candidate in _numbered(name):
        if folded(candidate) not in used:
            used.add(folded(candidate))
            return candidate
    raise AssertionError("there is always another number")


def _stem(kept_as: str, alike: Counter[str], used: set[str]) -> str:
    """Return a stem whose names in all formats are unused, and add these names to `used`."""
    bare = str(PurePosixPath(kept_as).with_suffix(""))
    own = folded(kept_as)
    first = bare if alike[folded(bare)] == 1 else kept_as
    for stem in (first, *([kept_as] if first == bare else [])):
        if _take(kept_as, stem, own, used):
            return stem
    return next(
        stem for number in count(2) if _take(kept_as, stem := f"{bare}-{number}", own, used)
    )


def _take(kept_as: str, stem: str, own: str, used: set[str]) -> bool:
    wanted = {folded(name) for name in names_of(kept_as, stem)} - {own}
    if wanted & used:
        return False
    used |= wanted
    return True


def _numbered(name: PurePosixPath) -> Iterator[str]:
    """Yield `name` itself, then `name` with `-2`, `-3`, ... before its suffix."""
    yield str(name)
    for number in count(2):
        yield str(name.with_name(f"{name.stem}-{number}{name.suffix}"))


def folded(name: str) -> str:
    """Return a key that is equal for all names that any file system treats as the same.

    >>> folded("Photo.JPG") == folded("photo.jpg")
    True
    """
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
