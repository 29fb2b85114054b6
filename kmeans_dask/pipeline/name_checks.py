"""Names below the output, of which a store or a plan from elsewhere may have any.

An image that is compressed ends in what it is. One that is kept is a copy of a file of the input,
under a name that an image has or that this file has: never one that is run, or shown as a page.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from kmeans_dask.errors import StoreError
from kmeans_dask.pipeline.names import folded

_OF_IMAGES = {
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".j2c", ".j2k", ".jfif", ".jp2",
    ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pfm", ".pgm", ".png",
    ".pnm", ".ppm", ".tif", ".tiff", ".webp",
}  # fmt: skip
# Of what a system runs, a browser shows as a page, or a job writes itself.
_ACTIVE = {
    ".app", ".bash", ".bat", ".cgi", ".cmd", ".com", ".command", ".css", ".desktop", ".dll",
    ".exe", ".hta", ".htm", ".html", ".jar", ".js", ".json", ".jsonl", ".jsp", ".lnk", ".lua",
    ".mht", ".mhtml", ".mjs", ".msi", ".php", ".phtml", ".pl", ".plist", ".ps1", ".pth",
    ".py", ".pyc", ".pyw", ".rb", ".reg", ".scr", ".service", ".sh", ".shtml", ".so", ".svg",
    ".svgz", ".url", ".vbs", ".wasm", ".wsf", ".xht", ".xhtml", ".xml", ".xsl", ".yaml",
    ".yml", ".zsh",
}  # fmt: skip


def check_name(name: str) -> None:
    """Raise StoreError where a file of that name would not be an image's below the output.

    No plan has a hidden folder: those of an input are passed over.
    """
    within = f"/{name}/"
    if not ("//" in within or "/." in within or "\0" in name):
        return  # as nearly all are, of millions
    *folders, last = name.split("/")
    if not last or any(part in ("", ".", "..") for part in (*folders, last)) or "\0" in name:
        raise StoreError(f"the store names an output outside the output folder: {name!r}")
    if any(folder.startswith(".") for folder in folders):
        raise StoreError(f"the store names an output in a hidden folder: {name!r}")


def may_be_kept(name: str, path: str) -> bool:
    """Return whether a copy of the image file at `path` may have that name.

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
    """Raise StoreError where names of two images are one, or one is the folder of the other.

    Names count as one that any file system could take for one.

    outputs: of each image all names that it may get; reserved: names that none may have
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
