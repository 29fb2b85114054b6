"""Location of a file or folder: a local path, or a path in an object store that a URL names."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kmeans_dask.errors import UsageError
from kmeans_dask.files.object_path import SCHEMES, ObjectPath
from kmeans_dask.option_checks import brief

Location = Path | ObjectPath


def is_within(path: Location, folder: Location) -> bool:
    """Return whether `path` is `folder`, or below it."""
    return path == folder or folder in path.parents


def parse_location(text: str | os.PathLike[str] | Location) -> Location:
    """Return the path that `text` names.

    Raises UsageError where `text` names none, or is a URL that cannot be read here.

    >>> parse_location("photos/a.png"), parse_location("file:///photos/a.png")
    (PosixPath('photos/a.png'), PosixPath('/photos/a.png'))
    >>> parse_location("s3://bucket/photos/a.png").parent
    ObjectPath('s3://bucket/photos')
    """
    if isinstance(text, Path | ObjectPath):
        return text
    if not isinstance(text, str | os.PathLike):
        raise UsageError(f"{brief(text)} is no path: name a file or folder by its path or URL")
    text = os.fspath(text)
    scheme, there, _ = text.partition("://")
    if not there or "/" in scheme:
        return Path(text)
    if scheme in SCHEMES:
        return ObjectPath(text)
    if scheme == "file":
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise UsageError(f"{text} is on another machine: write file:///... for one of this")
        return Path(unquote(parts.path))
    known = ", ".join(f"{each}://" for each in (*SCHEMES, "file"))
    raise UsageError(f"{text} cannot be read: name a path, or a URL at {known}")
