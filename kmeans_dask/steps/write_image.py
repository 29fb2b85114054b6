"""Writing of an image below the output folder: remapped, or as a copy of its input file."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import Indices, squared_error
from kmeans_dask.color.palette import Palette
from kmeans_dask.color.psnr import error_of_pixel, psnr
from kmeans_dask.color.ssimulacra2 import LARGE, ROUGH, ssimulacra2
from kmeans_dask.errors import ImageError
from kmeans_dask.files import Location, ObjectPath, parse_location
from kmeans_dask.files.object_status import Status
from kmeans_dask.images.encode import encode_image
from kmeans_dask.images.inspector import read_size_safely
from kmeans_dask.images.metadata import Metadata
from kmeans_dask.job.encode_totals import EncodeTotals
from kmeans_dask.job.gallery import Gallery, ImageRow
from kmeans_dask.job.output_folder import check_below, write_below
from kmeans_dask.plan.name_checks import may_be_kept
from kmeans_dask.plan.output_names import output_name
from kmeans_dask.plan.plan import Source
from kmeans_dask.settings import MAX_PIXELS, EncodeSettings, Targets
from kmeans_dask.store.records import Failure, ImageRecord


@dataclass(frozen=True)
class RemappedImage:
    """Image as indices into a palette, and the errors that the indices make.

    indices: (h, w) uint8
    pixels, squared_error, largest_error: as in `EncodeTotals`
    palette_error: squared error that the image would have without lossy indices; None where it has
        none
    private: whether the palette is the image's own
    has_frame: False where the image is a nine-patch whose frame has changed, else True
    file: the encoded file, where it is known already
    score: SSIMULACRA2 score, where it has been computed
    """

    indices: NDArray[np.uint8]
    palette: Palette
    pixels: int
    squared_error: int
    largest_error: int
    private: bool = False
    has_frame: bool = True
    palette_error: int | None = None
    file: bytes | None = None
    score: float | None = None

    @classmethod
    def of(
        cls,
        record: ImageRecord,
        pixels: NDArray[np.uint8],
        alphas: NDArray[np.uint8] | None,
        indices: NDArray[np.uint8],
        palette: Palette,
        *,
        private: bool = False,
    ) -> RemappedImage:
        """Return an image, with the errors of `indices` (n,) on pixels (n, 3) with alphas (n,)."""
        error = squared_error(pixels, alphas, indices, palette.entries)
        n = len(pixels) if alphas is None else int(np.count_nonzero(alphas))
        shaped = indices.reshape(record.height, record.width)
        frame = keeps_frame(record, pixels, alphas, indices, palette)
        return cls(shaped, palette, n, error.total, error.largest, private, has_frame=frame)

    def reaches(self, targets: Targets) -> bool:
        """Return whether the image has the quality of the targets.

        Where they have a score, that of the image must have been computed.
        """
        least, most, score = targets.min_psnr, targets.max_error, targets.min_ssimulacra2
        found = psnr(self.squared_error, self.pixels)
        return (
            (least is None or found is None or found >= least)
            and (most is None or error_of_pixel(self.largest_error) <= most)
            and (score is None or (self.score or 0.0) >= score)
        )

    def scored(
        self,
        pixels: NDArray[np.uint8],
        alphas: NDArray[np.uint8] | None,
        rows: range | None = None,
        *,
        rough: bool = False,
    ) -> RemappedImage:
        """Return the image with its SSIMULACRA2 score beside the original pixels.

        pixels: (n, 3) uint8; alphas: (n,) uint8, None where all pixels are opaque
        rows: the rows that these pixels are, without gaps; None for the whole image
        rough: whether the score is only for a mean, so that only parts of it need be measured
        """
        indices = self.indices if rows is None else self.indices[rows.start : rows.stop]
        is_opaque = alphas is None and self.palette.alphas is None
        channels = 3 if is_opaque else 4  # a fourth one would take memory for nothing
        shown = self.palette.entries[:, :channels][indices]
        if not is_opaque:
            over = np.full(len(pixels), 255, np.uint8) if alphas is None else alphas
            pixels = np.column_stack([pixels, over])
        before, large = pixels.reshape(shown.shape), ROUGH if rough else LARGE
        score = ssimulacra2(before, shown, sampled=True, large=large)
        return replace(self, score=score)


def is_nine_patch(record: ImageRecord) -> bool:
    """Return whether an image is an Android nine-patch, whose frame says how to stretch it."""
    return record.kept_as.lower().endswith(".9.png")


def keeps_frame(
    record: ImageRecord,
    pixels: NDArray[np.uint8],
    alphas: NDArray[np.uint8] | None,
    indices: Indices,
    palette: Palette,
) -> bool:
    """Return whether the outermost pixels of a nine-patch stay the same; True for other images."""
    if not is_nine_patch(record):
        return True
    frame = np.ones((record.height, record.width), np.bool_)
    frame[1:-1, 1:-1] = False
    some = frame.ravel()
    of_some = None if alphas is None else alphas[some]
    return not squared_error(pixels[some], of_some, indices[some], palette.entries).total


def write_image(
    record: ImageRecord,
    remapped: RemappedImage,
    output: Location,
    settings: EncodeSettings,
    targets: Targets,
) -> EncodeTotals:
    """Write an image with its palette, or a copy of its input file where `better_file` says so.

    Where the input file is gone or has changed, no copy can be made: then the image is written with
    its palette although it is larger, unless its quality is too low or its frame would change. An
    ImageError becomes a failure in the result.
    """
    try:
        return _write_image(record, remapped, output, settings, targets)
    except ImageError as error:
        return EncodeTotals(failures=(Failure(record.path, str(error)),))


def better_file(
    record: ImageRecord,
    remapped: RemappedImage,
    settings: EncodeSettings,
    targets: Targets,
) -> bytes | None:
    """Return the file of an image with its palette, or None where the input file is to be kept.

    The input file is kept where the image would not reach the targets, where the frame of a
    nine-patch would change, or where the new file would be larger and `settings.always` is not set.
    """
    if not remapped.reaches(targets) or not remapped.has_frame:
        return None
    file = encode_remapped(record, remapped, settings)
    return file if settings.always or len(file) <= record.n_bytes else None


def encode_remapped(
    record: ImageRecord, remapped: RemappedImage, settings: EncodeSettings
) -> bytes:
    """Return the file of an image, encoded now where that has not been done yet."""
    if remapped.file is not None:
        return remapped.file
    found = record.metadata if settings.keep_metadata else None
    metadata = Metadata(found.exif, found.density, found.text) if found else None
    return encode_image(
        remapped.indices, remapped.palette, settings, metadata, own_palette=remapped.private
    )


def _write_image(
    record: ImageRecord,
    remapped: RemappedImage,
    output: Location,
    settings: EncodeSettings,
    targets: Targets,
) -> EncodeTotals:
    name = output_name(record.kept_as, record.stem, settings.suffix)
    for each in {record.kept_as, name}:  # the file gets one of these names
        check_below(output, each)
    is_good = remapped.reaches(targets)
    file = better_file(record, remapped, settings, targets)
    if file is not None:
        return _write_compressed(record, remapped, output, name, file)
    original = _original(record)
    if original is not None:
        return _write_original(record, remapped, output, original, is_good=is_good)
    for is_so, what in (
        (not is_good, "too far off"),
        (not remapped.has_frame, "its frame would change"),
    ):
        if is_so:
            raise ImageError(f"{what}, and the input file is gone or has changed: run the job anew")
    file = encode_remapped(record, remapped, settings)
    return replace(_write_compressed(record, remapped, output, name, file), outgrown=1)


def _write_original(
    record: ImageRecord,
    remapped: RemappedImage,
    output: Location,
    original: bytes,
    *,
    is_good: bool,
) -> EncodeTotals:
    written, size = write_below(output, record.kept_as, original), len(original)
    status: Literal["kept", "below target"] = "kept" if is_good else "below target"
    row = ImageRow(record.kept_as, record.kept_as, record.path, status, size, size, None)
    return EncodeTotals(
        kept=1,
        below_target=not is_good,
        nine_patches=is_good and not remapped.has_frame,
        input_bytes=size,
        output_bytes=size,
        all_pixels=remapped.indices.size,
        gallery=Gallery.of([row]),
        files=(written,),
    )


def _write_compressed(
    record: ImageRecord, remapped: RemappedImage, output: Location, name: str, file: bytes
) -> EncodeTotals:
    written, error = write_below(output, name, file), remapped.palette_error
    row = ImageRow(
        record.kept_as,
        name,
        record.path,
        "compressed",
        record.n_bytes,
        len(file),
        psnr(remapped.squared_error, remapped.pixels),
        remapped.pixels,
        remapped.score,
    )
    return EncodeTotals(
        compressed=1,
        private=remapped.private,
        composited=record.composited,
        reindexed=record.indexed,
        dim=record.brightest is not None,
        brightest=record.brightest or 0,
        input_bytes=record.n_bytes,
        output_bytes=len(file),
        all_pixels=remapped.indices.size,
        pixels=remapped.pixels,
        squared_error=remapped.squared_error,
        palette_error=error if error is not None else remapped.squared_error,
        lossy=error is not None,
        scored=remapped.score is not None,
        score=round(1000 * (remapped.score or 0.0)),
        largest_error=remapped.largest_error,
        largest_in=record.kept_as if remapped.largest_error else "",
        gallery=Gallery.of([row]),
        files=(written,),
    )


def outputs_of(source: Source, settings: EncodeSettings) -> tuple[str, ...]:
    """Return the names below the output that an image may get, compressed or copied."""
    name = output_name(source.kept_as, source.stem, settings.suffix)
    return (name, source.kept_as) if may_be_kept(source.kept_as, source.path) else (name,)


def _original(record: ImageRecord) -> bytes | None:
    """Return the content of the input file, or None where the file is gone or has changed.

    The file is compared by its digest where the record has one, else by size and time of change. A
    store may come from elsewhere and name any file of this machine, so only images are ever copied.
    """
    path, n_pixels = parse_location(record.path), record.height * record.width
    if not may_be_kept(record.kept_as, record.path):
        return None
    try:
        width, height = read_size_safely(path, max(n_pixels, MAX_PIXELS))
        data, status = _read_with_status(path, record.n_bytes)
    except (ImageError, OSError):
        return None
    if data is None or len(data) != record.n_bytes or width * height != n_pixels:
        return None
    if record.digest:
        return data if hashlib.sha256(data).hexdigest() == record.digest else None
    return data if status.st_mtime_ns == record.modified else None


def _read_with_status(path: Location, size: int) -> tuple[bytes | None, os.stat_result | Status]:
    """Return the content of a file, or None if it has more than `size` bytes, and its status.

    The status is that of the open file after reading: its time is new if the file has changed
    meanwhile, and another file that has been given the same name does not matter.
    """
    if isinstance(path, ObjectPath):
        return path.read_with_status(size)
    with path.open("rb") as file:
        data = file.read(size + 1)
        return data if len(data) <= size else None, os.fstat(file.fileno())
