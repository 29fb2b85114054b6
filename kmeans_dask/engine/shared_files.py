"""Check that every worker of a job sees the same files and folders, under the same paths."""

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
    """Files and folders that every worker of a job must see.

    files: paths, and sizes in bytes
    folders: temporary folders, one in each folder that workers write to; a file in each holds its
        name
    """

    files: tuple[tuple[str, int], ...]
    folders: tuple[str, ...]

    def missing(self) -> str | None:
        """Return what this process does not see, as text for a message; None where it sees all."""
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
    """Return what this process does not see or cannot write to, and the files that it has written.

    The first is text for a message, or None. Runs on a worker, which writes a file to each folder;
    the process that started the job checks with `unseen` that it sees these files.
    """
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
    """Return a folder in which this process does not see what a worker has written, or None.

    written: paths of the worker's files, as `look` returns them
    """
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
    """Yield the files and folders to be seen; its temporary folders exist during the block.

    folders: folders that workers write to
    files: paths, and sizes in bytes
    """
    made = [folder.absolute() / f"{AT_WORK}{secrets.token_hex(8)}" for folder in folders]
    try:
        for folder in made:
            for name in names_in(folder.parent):
                if name.startswith(AT_WORK):  # left by a run that was killed
                    remove(folder.parent / name)
            folder.mkdir()
            (folder / _TOKEN).write_text(folder.name)
        # Files that have changed since they were found are left out: the job reports them.
        seen = tuple(file for file in files if Sight((file,), ()).missing() is None)
        yield Sight(seen, tuple(map(str, made)))
    finally:
        for folder in made:
            remove(folder)


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
