"""Checks of the names of output files, which may come from a store or plan of someone else.

The name of a compressed image ends with the suffix of its format. An image that is kept is a copy
of its input file: the name of the copy must have the suffix of an image format, or be the name of
the input file. It must never have the suffix of a program, or of a page that a browser shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from kmeans_dask.errors import StoreError
from kmeans_dask.plan.output_names import folded

_OF_IMAGES = {
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".j2c", ".j2k", ".jfif", ".jp2",
    ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pfm", ".pgm", ".png",
    ".pnm", ".ppm", ".tif", ".tiff", ".webp",
}  # fmt: skip
# Suffixes of files that a system runs, that a browser shows as a page, or that a job writes.
_ACTIVE = {
    ".app", ".bash", ".bat", ".cgi", ".cmd", ".com", ".command", ".css", ".desktop", ".dll",
    ".exe", ".hta", ".htm", ".html", ".jar", ".js", ".json", ".jsonl", ".jsp", ".lnk", ".lua",
    ".mht", ".mhtml", ".mjs", ".msi", ".php", ".phtml", ".pl", ".plist", ".ps1", ".pth",
    ".py", ".pyc", ".pyw", ".rb", ".reg", ".scr", ".service", ".sh", ".shtml", ".so", ".svg",
    ".svgz", ".url", ".vbs", ".wasm", ".wsf", ".xht", ".xhtml", ".xml", ".xsl", ".yaml",
    ".yml", ".zsh",
}  # fmt: skip


def check_name(name: str) -> None:
    """Raise StoreError where the file `name` would be outside the output, or in a hidden folder.

    Hidden folders of an input are skipped, so no plan that this package makes has one.
    """
    within = f"/{name}/"
    if not ("//" in within or "/." in within or "\0" in name):
        return  # a quick check, which nearly all of millions of names pass
    *folders, last = name.split("/")
    if not last or any(part in ("", ".", "..") for part in (*folders, last)) or "\0" in name:
        raise StoreError(f"the store names an output outside the output folder: {name!r}")
    if any(folder.startswith(".") for folder in folders):
        raise StoreError(f"the store names an output in a hidden folder: {name!r}")


def may_be_kept(name: str, path: str) -> bool:
    """Return whether a copy of the image file at `path` may have the name `name` in the output.

    >>> may_be_kept("a/b.JPG", "/in/x"), may_be_kept("a/photo", "/in/a/photo")
    (True, True)
    >>> may_be_kept("evil.html", "/in/evil.html"), may_be_kept(".bashrc", "/in/a.png")
    (False, False)
    """
    kept, suffix = PurePosixPath(name), PurePosixPath(name).suffix.lower()
    if suffix in _OF_IMAGES:
        return True
    is_own = kept.name == PurePosixPath(path).name and not kept.name.startswith(".")
    return is_own and suffix not in _ACTIVE


def check_distinct(outputs: Iterable[Iterable[str]], reserved: Iterable[str]) -> None:
    """Raise StoreError where two images have the same name, or one has that of a folder.

    Names that any file system could treat as the same count as the same (see
    `output_names.folded`).

    outputs: all names that an image may get, for each image
    reserved: names that no image may have
    """
    taken = set(map(folded, reserved))
    folders: set[str] = set()
    for names in outputs:
        for name in set(map(folded, names)):
            if name in taken:
                raise StoreError(f"the store is damaged: two files of it would become {name!r}")
            taken.add(name)
            folder = name.rpartition("/")[0]
            while folder and folder not in folders:
                folders.add(folder)
                folder = folder.rpartition("/")[0]
    if clash := min(taken & folders, default=None):
        raise StoreError(f"the store is damaged: {clash!r} is an image and a folder of images")
