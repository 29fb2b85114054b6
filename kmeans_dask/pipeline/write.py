"""One image, and its indices into a palette, to a file below the output folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.clustering.colormap import Indices, squared_error
from kmeans_dask.errors import ImageError, StoreError
from kmeans_dask.imaging.encode import encode_image
from kmeans_dask.imaging.inspector import read_size_safely
from kmeans_dask.imaging.metadata import Metadata
from kmeans_dask.imaging.palette import Palette
from kmeans_dask.imaging.palette_files import entries_as
from kmeans_dask.imaging.quality import psnr
from kmeans_dask.pipeline.gallery import Cloud, Gallery, ImageRow
from kmeans_dask.pipeline.name_checks import may_be_kept
from kmeans_dask.pipeline.names import FAILURES_FILE, PALETTE_FILE, WORK_FOLDER, output_name
from kmeans_dask.pipeline.plan import Failure, Source
from kmeans_dask.settings import MAX_PIXELS, EncodeSettings
from kmeans_dask.storage import Place, Remote, place_of
from kmeans_dask.storage.documents import Count, Name
from kmeans_dask.storage.files import write_file
from kmeans_dask.storage.remote import Status

# What is wrong with one file's name, and stops no other: too long, of characters that the file
# system has not, or with a file or a link in its way.
_OF_NAME = {
    errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL,
    errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP,
}  # fmt: skip

ASIDE = PurePosixPath(WORK_FOLDER, "aside")  # in the output: files before they are put in place
_NOT_ADDED_UP = (
    "colors_bytes", "brightest", "largest_error", "largest_in", "failures", "gallery", "files",
)  # fmt: skip
Written = tuple[Name, Count, Count]  # a file's name below the output, its size and its CRC-32


@dataclass(frozen=True)
class Encoded:
    """Result of encoding one image, a partition, or all: counts, errors, failures and files.

    compressed: images written with a palette
    kept: images copied as they were, because compression would make them larger, or worse than
        asked for
    below_target: kept images that would be worse than asked for with every palette tried
    private: compressed images with a palette of their own
    composited: compressed images whose partly transparent pixels were laid over white
    reindexed: compressed images whose file had palette indices or few greys, which may be class
        labels: the numbers have been replaced by others
    outgrown: compressed images larger than their input file, which is gone or has changed
    dim: compressed images whose 16-bit samples use less than half of their range
    brightest: a bound that no sample of these images is above
    nine_patches: kept images that are Android nine-patches, whose frame would have changed
    input_bytes, output_bytes: of the compressed and kept images
    all_pixels: number of pixels of the compressed and kept images
    pixels: number of pixels of the compressed images, without fully transparent ones
    squared_error: of these pixels, in 1 / `clustering.colormap.ERROR_UNITS` of a squared 8-bit
        value
    largest_error: squared error of the worst of these pixels, in the same unit
    largest_in: the image with this pixel; empty where nothing was lost
    colors_bytes: bytes of memory that fitting a palette to an image or folder takes, at most
    failures: images that could not be read or written
    gallery: the compressed and kept images, for the report
    files: the files that were written: names below the output, sizes in bytes and CRC-32
    """

    compressed: Count = 0
    kept: Count = 0
    below_target: Count = 0
    private: Count = 0
    composited: Count = 0
    reindexed: Count = 0
    outgrown: Count = 0
    dim: Count = 0
    brightest: Count = 0
    nine_patches: Count = 0
    input_bytes: Count = 0
    output_bytes: Count = 0
    all_pixels: Count = 0
    pixels: Count = 0
    squared_error: int = 0
    largest_error: int = 0
    largest_in: str = ""
    colors_bytes: int = 0
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
            if each.name not in _NOT_ADDED_UP
        }
        largest, name = min((-part.largest_error, part.largest_in) for part in parts)
        failures = tuple(failure for part in parts for failure in part.failures)
        gallery = Gallery.total([part.gallery for part in parts])
        written = tuple(file for part in parts for file in part.files)
        return cls(
            **sums,
            largest_error=-largest,
            largest_in=name,
            colors_bytes=max(part.colors_bytes for part in parts),
            brightest=max(part.brightest for part in parts),
            failures=failures,
            gallery=gallery,
            files=written,
        )

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
    """Image as indices into a palette, and the errors that the indices make.

    indices: (h, w) uint8
    pixels, squared_error, largest_error: as in `Encoded`
    private: whether the palette is the image's own
    cloud: sample of its pixels, with their colours before and after; may be empty
    has_frame: False where the image is a nine-patch whose frame has changed, else True
    """

    indices: NDArray[np.uint8]
    palette: Palette
    pixels: int
    squared_error: int
    largest_error: int
    private: bool = False
    cloud: Cloud = ()
    has_frame: bool = True

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
        frame = keeps_frame(record, pixels, alphas, indices, palette)
        return cls(shaped, palette, n, error.total, error.largest, private, has_frame=frame)

    def reaches(self, min_psnr: float | None) -> bool:
        """Whether the image is as good as asked for."""
        found = psnr(self.squared_error, self.pixels)
        return min_psnr is None or found is None or found >= min_psnr


def is_nine_patch(record: Mapping[str, Any]) -> bool:
    """Return whether an image is an Android nine-patch, whose frame says how to stretch it."""
    return str(record["kept_as"]).lower().endswith(".9.png")


def keeps_frame(
    record: Mapping[str, Any],
    pixels: NDArray[np.uint8],
    alphas: NDArray[np.uint8] | None,
    indices: Indices,
    palette: Palette,
) -> bool:
    """Return whether the outermost pixels of a nine-patch stay the same; True for other images."""
    if not is_nine_patch(record):
        return True
    frame = np.ones((record["height"], record["width"]), np.bool_)
    frame[1:-1, 1:-1] = False
    some = frame.ravel()
    of_some = None if alphas is None else alphas[some]
    return not squared_error(pixels[some], of_some, indices[some], palette.entries).total


def write_image(
    record: Mapping[str, Any],
    mapped: Mapped,
    output: Place,
    settings: EncodeSettings,
    min_psnr: float | None,
) -> Encoded:
    """Write an image with its palette, or a copy of its input file where `better_file` says so.

    Where the input file is gone or has changed, no copy can be made: then the image is written with
    its palette although it is larger, unless its quality is too low or its frame would change. An
    ImageError becomes a failure in the result.
    """
    try:
        return _write_image(record, mapped, output, settings, min_psnr)
    except ImageError as error:
        return Encoded(failures=(Failure(record["path"], str(error)),))


def better_file(
    record: Mapping[str, Any], mapped: Mapped, settings: EncodeSettings, min_psnr: float | None
) -> bytes | None:
    """Return the file of an image with its palette, or None where the input file is to be kept.

    The input file is kept where the image would not reach `min_psnr` (dB), where the frame of a
    nine-patch would change, or where the new file would be larger and `settings.always` is not set.
    """
    if not mapped.reaches(min_psnr) or not mapped.has_frame:
        return None
    file = _encode(record, mapped, settings)
    return file if settings.always or len(file) <= record["n_bytes"] else None


def _encode(record: Mapping[str, Any], mapped: Mapped, settings: EncodeSettings) -> bytes:
    metadata = Metadata.from_dict(record["metadata"]) if record["metadata"] else None
    kept_metadata = metadata if settings.keep_metadata else None
    return encode_image(mapped.indices, mapped.palette, settings, kept_metadata)


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
    file = better_file(record, mapped, settings, min_psnr)
    if file is not None:
        return _write_compressed(record, mapped, output, name, file)
    original = _original(record)
    if original is not None:
        return _write_original(record, mapped, output, original, min_psnr)
    for is_so, what in (
        (not mapped.reaches(min_psnr), "too far off"),
        (not mapped.has_frame, "its frame would change"),
    ):
        if is_so:
            raise ImageError(f"{what}, and the input file is gone or has changed: run the job anew")
    file = _encode(record, mapped, settings)
    return replace(_write_compressed(record, mapped, output, name, file), outgrown=1)


def _write_original(
    record: Mapping[str, Any],
    mapped: Mapped,
    output: Place,
    original: bytes,
    min_psnr: float | None,
) -> Encoded:
    written = write_below(output, record["kept_as"], original)
    size, good = len(original), mapped.reaches(min_psnr)
    status: Literal["kept", "below target"] = "kept" if good else "below target"
    row = ImageRow(record["kept_as"], record["kept_as"], record["path"], status, size, size, None)
    return Encoded(
        kept=1,
        below_target=not good,
        nine_patches=good and not mapped.has_frame,
        input_bytes=size,
        output_bytes=size,
        all_pixels=mapped.indices.size,
        gallery=Gallery.of([row]),
        files=(written,),
    )


def _write_compressed(
    record: Mapping[str, Any], mapped: Mapped, output: Place, name: str, file: bytes
) -> Encoded:
    written = write_below(output, name, file)
    row = ImageRow(
        record["kept_as"],
        name,
        record["path"],
        "compressed",
        record["n_bytes"],
        len(file),
        psnr(mapped.squared_error, mapped.pixels),
        mapped.pixels,
    )
    return Encoded(
        compressed=1,
        private=mapped.private,
        composited=record["composited"],
        reindexed=record.get("indexed", False),
        dim=record["brightest"] is not None,
        brightest=record["brightest"] or 0,
        input_bytes=record["n_bytes"],
        output_bytes=len(file),
        all_pixels=mapped.indices.size,
        pixels=mapped.pixels,
        squared_error=mapped.squared_error,
        largest_error=mapped.largest_error,
        largest_in=record["kept_as"] if mapped.largest_error else "",
        gallery=Gallery.of([row], mapped.cloud),
        files=(written,),
    )


def outputs_of(source: Source, settings: EncodeSettings) -> tuple[str, ...]:
    """Return the names below the output that an image may get, compressed or copied."""
    name = output_name(source.kept_as, source.stem, settings.suffix)
    return (name, source.kept_as) if may_be_kept(source.kept_as, source.path) else (name,)


def _original(record: Mapping[str, Any]) -> bytes | None:
    """Return the content of the input file, or None where the file is gone or has changed.

    The file is compared by its digest where the record has one, else by size and time of change. A
    store may come from elsewhere and name any file of this machine, so only images are ever copied.
    """
    path, n_pixels = place_of(record["path"]), record["height"] * record["width"]
    if not may_be_kept(record["kept_as"], record["path"]):
        return None
    try:
        width, height = read_size_safely(path, max(n_pixels, MAX_PIXELS))
        data, status = _read_with_status(path, record["n_bytes"])
    except (ImageError, OSError):
        return None
    if data is None or len(data) != record["n_bytes"] or width * height != n_pixels:
        return None
    digest = record.get("digest")
    if digest:
        return data if hashlib.sha256(data).hexdigest() == digest else None
    return data if status.st_mtime_ns == record["modified"] else None


def _read_with_status(path: Place, size: int) -> tuple[bytes | None, os.stat_result | Status]:
    """Return the content of a file, or None if it has more than `size` bytes, and its status.

    The status is that of the open file after reading: its time is new if the file has changed
    meanwhile, and another file that has been given the same name does not matter.
    """
    if isinstance(path, Remote):
        return path.read_with_status(size)
    with path.open("rb") as file:
        data = file.read(size + 1)
        return data if len(data) <= size else None, os.fstat(file.fileno())


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
    """Write `data` to the file `name` below `output`, and return its name, size and CRC-32.

    A local file with the same content is left as it is, with its time of change. Raises ImageError
    where the file system refuses the name, or a link in it leads out of the output; StoreError
    where the name itself does.
    """
    path = below(output, name)
    try:
        if not _holds(path, data):
            write_file(path, data, output / ASIDE)
    except OSError as error:
        if error.errno not in _OF_NAME:
            raise
        raise ImageError(f"its name in OUTPUT cannot be had: {error.strerror}") from error
    return name, len(data), zlib.crc32(data)


def _holds(path: Place, data: bytes) -> bool:
    """Return whether `path` is a local file with the content `data` and no other name."""
    if isinstance(path, Remote):  # a request costs as much as writing
        return False
    try:
        status = path.lstat()
        alike = stat.S_ISREG(status.st_mode) and status.st_size == len(data)
        return alike and status.st_nlink == 1 and path.read_bytes() == data
    except OSError:
        return False


def write_palette(
    output: Place,
    palette: Palette,
    weights: NDArray[np.int64] | None = None,
    folder: str = "",
) -> Written:
    """Write `palette.json` into `output`, or a `folder` below it as `below` has it.

    weights: (k,), pixels of each colour, if known
    """
    pixels = None if weights is None else palette.pixels_of_entries(weights)
    name = str(PurePosixPath(folder, PALETTE_FILE))
    return write_below(output, name, entries_as(".json", palette.entries, pixels))


def write_failures(output: Place, failures: Sequence[Failure]) -> None:
    """Write `failures.jsonl`; remove one of an earlier run where there is nothing to write."""
    if not failures:
        (output / FAILURES_FILE).unlink(missing_ok=True)
        return
    lines = [json.dumps(asdict(failure)) + "\n" for failure in failures]
    write_file(output / FAILURES_FILE, "".join(lines).encode(), output / ASIDE)
