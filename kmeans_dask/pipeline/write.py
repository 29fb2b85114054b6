"""One image, and its indices into a palette, to a file below the output folder."""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.clustering.colormap import squared_error
from kmeans_dask.errors import ImageError, StoreError
from kmeans_dask.imaging.decode import read_size
from kmeans_dask.imaging.encode import encode_image
from kmeans_dask.imaging.metadata import Metadata
from kmeans_dask.imaging.palette import Palette
from kmeans_dask.imaging.palette_files import entries_as
from kmeans_dask.imaging.quality import psnr
from kmeans_dask.pipeline.gallery import Cloud, Gallery, ImageRow
from kmeans_dask.pipeline.names import may_be_kept
from kmeans_dask.pipeline.plan import (
    FAILURES_FILE,
    PALETTE_FILE,
    WORK_FOLDER,
    Failure,
    Source,
    output_name,
)
from kmeans_dask.settings import MAX_PIXELS, EncodeSettings
from kmeans_dask.storage import Place, Remote, place_of
from kmeans_dask.storage.documents import Count, Name
from kmeans_dask.storage.files import write_file

# What is wrong with one file's name, and stops no other: too long, of characters that the file
# system has not, or with a file or a link in its way.
_OF_NAME = {
    errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL,
    errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP,
}  # fmt: skip

ASIDE = PurePosixPath(WORK_FOLDER, "aside")  # in the output: files before they are put in place
Written = tuple[Name, Count, Count]  # a file's name below the output, its size and its CRC-32


@dataclass(frozen=True)
class Encoded:
    """What encoding amounted to, over an image, a partition or all.

    compressed, kept: images written with a palette; copied, because that would have been larger
        or worse than asked for
    below_target: of the kept, those that no palette tried brings to the quality asked for
    private: of the compressed, those with a palette of their own
    composited: of the compressed, those whose partly transparent pixels were laid over white
    input_bytes, output_bytes: of the compressed and the kept
    all_pixels: of the compressed and the kept
    gallery: of the compressed and the kept
    files: that were written: their names below the output, sizes and CRC-32
    pixels, squared_error: of the compressed images, without fully transparent pixels; the
        squared differences in `clustering.colormap.ERROR_UNITS`
    """

    compressed: Count = 0
    kept: Count = 0
    below_target: Count = 0
    private: Count = 0
    composited: Count = 0
    input_bytes: Count = 0
    output_bytes: Count = 0
    all_pixels: Count = 0
    pixels: Count = 0
    squared_error: int = 0
    failures: tuple[Failure, ...] = ()
    gallery: Gallery = field(default_factory=Gallery)
    files: tuple[Written, ...] = ()

    @classmethod
    def total(cls, parts: Iterable[Encoded]) -> Encoded:
        """Of all of them together."""
        parts = list(parts) or [cls()]
        sums = {
            each.name: sum(getattr(part, each.name) for part in parts)
            for each in fields(cls)
            if each.name not in ("failures", "gallery", "files")
        }
        failures = tuple(failure for part in parts for failure in part.failures)
        gallery = Gallery.total([part.gallery for part in parts])
        written = tuple(file for part in parts for file in part.files)
        return cls(**sums, failures=failures, gallery=gallery, files=written)

    def __add__(self, other: Encoded) -> Encoded:
        return Encoded.total([self, other])

    def as_record(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return vars(self) | {
            "failures": [asdict(failure) for failure in self.failures],
            "gallery": vars(self.gallery),
        }

    def without_files(self) -> Encoded:
        """The same, but that nobody can tell what was written."""
        return replace(self, files=())

    @property
    def images(self) -> int:
        """Images that are in the output."""
        return self.compressed + self.kept


@dataclass(frozen=True)
class Mapped:
    """An image as indices into a palette.

    indices: (h, w) uint8
    pixels, squared_error: as `Encoded` has them
    private: whether the palette is the image's own
    cloud: some of its pixels, where they are at hand
    """

    indices: NDArray[np.uint8]
    palette: Palette
    pixels: int
    squared_error: int
    private: bool = False
    cloud: Cloud = ()

    @classmethod
    def of(
        cls,
        record: Mapping[str, Any],
        pixels: NDArray[np.uint8],
        alphas: NDArray[np.uint8] | None,
        indices: NDArray[np.uint8],
        palette: Palette,
        *,
        private: bool = False,
    ) -> Mapped:
        """With the error that `indices` (n,) make of pixels (n, 3) with alphas (n,)."""
        error = squared_error(pixels, alphas, indices, palette.entries)
        n = len(pixels) if alphas is None else int(np.count_nonzero(alphas))
        shaped = indices.reshape(record["height"], record["width"])
        return cls(shaped, palette, n, error, private)

    def reaches(self, min_psnr: float | None) -> bool:
        """Whether the image is as good as asked for."""
        found = psnr(self.squared_error, self.pixels)
        return min_psnr is None or found is None or found >= min_psnr


def write_image(
    record: Mapping[str, Any],
    mapped: Mapped,
    output: Place,
    settings: EncodeSettings,
    min_psnr: float | None,
) -> Encoded:
    """Write an image, or the file that it was where that is smaller, or where it is too far off.

    Where the input file is gone by now, and only then, a worse or larger one is written.
    """
    try:
        return _write_image(record, mapped, output, settings, min_psnr)
    except ImageError as error:
        return Encoded(failures=(Failure(record["path"], str(error)),))


def _write_image(
    record: Mapping[str, Any],
    mapped: Mapped,
    output: Place,
    settings: EncodeSettings,
    min_psnr: float | None,
) -> Encoded:
    name = output_name(record["kept_as"], record["stem"], settings.suffix)
    for each in {record["kept_as"], name}:  # whichever it will be
        check_below(output, each)
    may_keep = may_be_kept(record["kept_as"], record["path"])
    good = mapped.reaches(min_psnr)
    metadata = Metadata.from_dict(record["metadata"]) if record["metadata"] else None
    kept_metadata = metadata if settings.keep_metadata else None
    file = encode_image(mapped.indices, mapped.palette, settings, kept_metadata) if good else b""
    is_larger = record["n_bytes"] < len(file) and not settings.always
    original = _original(record) if may_keep and (is_larger or not good) else None
    if original is not None:
        written = write_below(output, record["kept_as"], original)
        size = len(original)
        status: Literal["kept", "below target"] = "kept" if good else "below target"
        row = ImageRow(
            record["kept_as"], record["kept_as"], record["path"], status, size, size, None
        )
        return Encoded(
            kept=1,
            below_target=not good,
            input_bytes=size,
            output_bytes=size,
            all_pixels=mapped.indices.size,
            gallery=Gallery.of([row]),
            files=(written,),
        )
    if not good:
        gone = "the input file is gone" if may_keep else "its name is not one to copy it under"
        raise ImageError(f"too far off, and {gone}")
    written = write_below(output, name, file)
    found = psnr(mapped.squared_error, mapped.pixels)
    row = ImageRow(
        record["kept_as"], name, record["path"], "compressed", record["n_bytes"], len(file), found
    )
    return Encoded(
        compressed=1,
        private=mapped.private,
        composited=record["composited"],
        input_bytes=record["n_bytes"],
        output_bytes=len(file),
        all_pixels=mapped.indices.size,
        pixels=mapped.pixels,
        squared_error=mapped.squared_error,
        gallery=Gallery.of([row], mapped.cloud),
        files=(written,),
    )


def outputs_of(source: Source, settings: EncodeSettings) -> tuple[str, ...]:
    """Names below the output that an image may get."""
    name = output_name(source.kept_as, source.stem, settings.suffix)
    return (name, source.kept_as) if may_be_kept(source.kept_as, source.path) else (name,)


def _original(record: Mapping[str, Any]) -> bytes | None:
    """The input file as it is now; None where it is gone, or no image of this size any more.

    A store may come from elsewhere and name any file here: none but an image is ever copied.
    """
    path, n_pixels = place_of(record["path"]), record["height"] * record["width"]
    try:
        width, height = read_size(path, max(n_pixels, MAX_PIXELS))
        return path.read_bytes() if width * height == n_pixels else None
    except (ImageError, OSError):
        return None


def below(output: Place, name: str) -> Place:
    """The path of `name` below `output`.

    Raises StoreError for a name that would leave it, ImageError where a link in it would.
    """
    check_below(output, name)
    return output / name


def check_below(output: Place, name: str) -> None:
    """The same, where no path is wanted. In strings: of many small images paths are the most."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts or "\0" in name:
        raise StoreError(f"the store names an output outside the output folder: {name!r}")
    if isinstance(output, Remote):
        return
    folder = str(output)
    for part in parts[:-1]:
        folder += f"/{part}"
        # realpath, for Path.resolve raises where a link leads to itself
        is_link = os.path.islink(folder)  # noqa: PTH114
        if is_link and not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(output)):
            raise ImageError("its folder in OUTPUT is a link that leads out of it")


def write_below(output: Place, name: str, data: bytes) -> Written:
    """Write `data` to `name` below `output`. Raises ImageError where that name cannot be had."""
    path = below(output, name)
    try:
        write_file(path, data, output / ASIDE)
    except OSError as error:
        if error.errno not in _OF_NAME:
            raise
        raise ImageError(f"its name in OUTPUT cannot be had: {error.strerror}") from error
    return name, len(data), zlib.crc32(data)


def write_palette(
    output: Place,
    palette: Palette,
    weights: NDArray[np.int64] | None = None,
    folder: str = "",
) -> Written:
    """Write `palette.json` into `output`, or a `folder` below it as `below` has it.

    weights: (k,), pixels of each colour, if known
    """
    pixels = None if weights is None else [None] * palette.first + weights.tolist()
    name = str(PurePosixPath(folder, PALETTE_FILE))
    return write_below(output, name, entries_as(".json", palette.entries, pixels))


def write_failures(output: Place, failures: Sequence[Failure]) -> None:
    """Write `failures.jsonl`; remove one of an earlier run where there is nothing to write."""
    if not failures:
        (output / FAILURES_FILE).unlink(missing_ok=True)
        return
    lines = [json.dumps(asdict(failure)) + "\n" for failure in failures]
    write_file(output / FAILURES_FILE, "".join(lines).encode(), output / ASIDE)
