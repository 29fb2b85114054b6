"""Files that every worker of a job must see, under the same paths."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from kmeans_dask.files import Location, parse_location
from kmeans_dask.files.atomic_files import AT_WORK, names_in, remove

_TOKEN = "token"  # noqa: S105 - a file's name


@dataclass(frozen=True)
class Sight:
    """What must be seen.

    files: with their sizes
    folders: that were made for this, in folders that are worked in; a file in each is its name
    """

    files: tuple[tuple[str, int], ...]
    folders: tuple[str, ...]

    def missing(self) -> str | None:
        """What is not seen from here, in words."""
        for name, size in self.files:
            try:
                found = parse_location(name).stat().st_size
            except OSError as error:
                return f"does not see {name} ({_why(error)})"
            if found != size:
                return f"sees {name} with {found:,} bytes, not {size:,}: it is another file"
        for folder in map(parse_location, self.folders):
            try:
                token = (folder / _TOKEN).read_text()
            except OSError as error:
                return f"does not see {folder.parent} ({_why(error)})"
            if token != folder.name:
                return f"sees another folder as {folder.parent}"
        return None


def look(sight: Sight) -> tuple[str | None, list[str]]:
    """From a worker: what is missing there, if anything; and files written for the job to see."""
    missing = sight.missing()
    written: list[str] = []
    for folder in map(parse_location, sight.folders) if not missing else ():
        path = folder / secrets.token_hex(8)
        try:
            path.write_text(path.name)
        except OSError as error:
            return f"cannot write to {folder.parent} ({_why(error)})", written
        written.append(str(path))
    return missing, written


def unseen(written: Sequence[str]) -> str | None:
    """Of files that a worker has written, the folder of one that is not seen here."""
    for path in map(parse_location, written):
        try:
            if path.read_text() == path.name:
                continue
        except OSError:
            pass
        return str(path.parent.parent)
    return None


@contextmanager
def open_sight(folders: Sequence[Location], files: Sequence[tuple[str, int]]) -> Iterator[Sight]:
    """Make what is to be seen in `folders`, for the time of the block."""
    made = [folder.absolute() / f"{AT_WORK}{secrets.token_hex(8)}" for folder in folders]
    try:
        for folder in made:
            for name in names_in(folder.parent):
                if name.startswith(AT_WORK):  # by a run that was killed
                    remove(folder.parent / name)
            folder.mkdir()
            (folder / _TOKEN).write_text(folder.name)
        # What has changed since it was found, the job will tell of.
        seen = tuple(file for file in files if Sight((file,), ()).missing() is None)
        yield Sight(seen, tuple(map(str, made)))
    finally:
        for folder in made:
            remove(folder)


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
