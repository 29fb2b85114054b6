"""Decoder of image files to upright 8-bit sRGB pixels, by one written policy.

- Formats: those named in `FORMATS`, recognised by the first bytes of a file, not by its name.
- Limits: an image of more pixels than the limit is refused before it is decoded, and so is a file
  of more bytes than so many pixels can need.
- Frames: a file of more than one frame or page is refused, so that no frame is lost silently. Of an
  MPO, a photograph with previews, the photograph is decoded, as JPEG viewers do. Smaller copies of
  a TIFF's page do not count as pages.
- Orientation: the EXIF orientation is applied.
- Colours: they are converted to sRGB, relative colorimetric with black point compensation, from the
  colour space that the file names: by an ICC profile, by cICP, sRGB, gAMA and cHRM of a PNG, or by
  `nclx` of an AVIF. A profile that does not fit the image is ignored. An image is refused where its
  profile is larger than `MAX_PROFILE`, since its colours would be wrong without the profile, and
  where its transfer function is PQ or HLG.
- Modes: grey, bilevel and palette images become RGB. CMYK without a profile is converted by
  Pillow's simple formula.
- Bit depth: 16-bit samples are scaled, not clipped: 65535 becomes 255, or the sample that is named
  as white does. With a profile, samples are converted at full bit depth. Of 16-bit colour without
  a profile and without a named white, the high bytes are taken. Signed, 32-bit and float samples
  have no agreed black and white and are refused.
- Alpha: the colour of a fully transparent pixel, which cannot be seen, is dropped. Partly
  transparent pixels stay so, or are composited over white for a format without partial alpha. The
  part of a GIF that its only frame does not cover is transparent.
- Metadata: it is dropped, unless it is asked for.

Pillow decodes the files that it reads correctly; imagecodecs and tifffile, an extra, decode the
others. No setting of these libraries is changed.
"""

from __future__ import annotations

import importlib
import io
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image, ImageFile, ImagePalette

from kmeans_dask.errors import ImageError, NoImageError, UnreachableError
from kmeans_dask.files import Location, ObjectPath
from kmeans_dask.formats.bmp import read_bmp_header
from kmeans_dask.formats.color_tags import (
    profile_of_avif,
    profile_of_bmp,
    profile_of_png,
    read_code_points,
)
from kmeans_dask.formats.jpeg import read_deep_jpeg, read_jpeg_header, read_jpeg_tags
from kmeans_dask.formats.jpeg2000 import read_jpeg2000_header, read_odd_jpeg2000
from kmeans_dask.formats.netpbm import refusal_of_netpbm
from kmeans_dask.formats.png_chunks import read_png_header
from kmeans_dask.formats.samples import Samples, import_codecs
from kmeans_dask.formats.signatures import (
    HEAD,
    NAMES,
    is_called_image,
    is_called_raw,
    other_image,
    sniff,
)
from kmeans_dask.formats.tiff import read_layout, read_samples
from kmeans_dask.formats.to_srgb import is_srgb, to_rgb
from kmeans_dask.images.metadata import Metadata, read_metadata
from kmeans_dask.settings import MAX_PIXELS, White

T = TypeVar("T")

FEW_GREYS = 32  # levels; a grey image of no more of them may hold class labels, not shades

MAX_PROFILE = 1 << 22  # bytes; those of the largest printers have 3 MB

# Some decoders read a whole file before they look at it. The largest files of a limit's pixels have
# 8 bytes each, of 16-bit RGBA; beside them there is room for metadata and previews.
_BYTES_PER_PIXEL, _BYTES_BESIDE = 8, 1 << 24

# Bytes of memory for each pixel at most, with the bytes of the file and intermediate copies: see
# `benchmarks.memory`. Deep images have more than 8 bits a sample, or are not decoded by Pillow;
# the decoders of thirsty formats hold a whole image themselves.
_DEEP_BYTES, _THIRSTY_BYTES, _WITH_ALPHA_BYTES, _PLAIN_BYTES = 44, 25, 22, 14
_THIRSTY = ("WEBP", "JPEG2000", "AVIF")

_PLUGINS = {
    "PNG": "Png", "JPEG": "Jpeg", "WEBP": "WebP", "GIF": "Gif", "TIFF": "Tiff", "BMP": "Bmp",
    "PPM": "Ppm", "JPEG2000": "Jpeg2K", "AVIF": "Avif",
}  # fmt: skip
_ORIENTATION = 0x0112  # EXIF and TIFF tag
_COLOR_MAP = 320  # TIFF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DIM = 1 << 15  # 16-bit samples that are all below this use less than half of their range


@dataclass(frozen=True)
class Band:
    """Band of an image: the pixels of some of its rows.

    pixels: (n, 3) uint8, straight sRGB; black where fully transparent
    alphas: (n,) uint8, or None where all pixels are opaque
    """

    pixels: NDArray[np.uint8]
    alphas: NDArray[np.uint8] | None


@dataclass(frozen=True)
class DecodedImage:
    """Decoded image: upright, sRGB, in mode RGB, or RGBA where some pixel is not opaque.

    transparent, translucent: whether some pixel is fully, or partly, transparent in the file
    metadata: metadata of the file, or None where they were not asked for
    brightest: upper bound of the file's 16-bit samples, where all of them are in the lower half of
        their range and no white was named; else None
    indexed: whether the file has palette indices or bits, or so few greys that they may be class
        labels
    """

    image: Image.Image
    transparent: bool
    translucent: bool
    metadata: Metadata | None = None
    brightest: int | None = None
    indexed: bool = False

    @property
    def height(self) -> int:
        """Return the height in pixels."""
        return self.image.height

    @property
    def width(self) -> int:
        """Return the width in pixels."""
        return self.image.width

    def bands(self, pixels: int = 1 << 18) -> Iterator[Band]:
        """Yield the image in bands of about `pixels` pixels, from top to bottom.

        Bands keep the image from being in memory twice.
        """
        rows = max(1, pixels // self.width)
        if rows >= self.height:
            yield _band(np.asarray(self.image))
            return
        for top in range(0, self.height, rows):
            size = self.width, min(rows, self.height - top)
            part = Image.new(self.image.mode, size)  # `crop` would check a limit of the process
            part.paste(self.image, (0, -top))
            yield _band(np.asarray(part))

    def whole(self) -> Band:
        """Return the whole image as one band.

        It is joined from smaller bands, because Pillow is slow to export large images.
        """
        bands = list(self.bands())
        if len(bands) == 1:
            return bands[0]
        alphas = None
        if any(band.alphas is not None for band in bands):
            opaque = (np.full(len(band.pixels), 255, np.uint8) for band in bands)
            alphas = np.concatenate(
                [
                    o if band.alphas is None else band.alphas
                    for o, band in zip(opaque, bands, strict=True)
                ]
            )
        return Band(np.concatenate([band.pixels for band in bands]), alphas)


@dataclass(frozen=True)
class Header:
    """Header of an image file: the size of the image and the memory that decoding takes.

    width, height: pixels, before the EXIF orientation is applied
    pixel_bytes: bytes of memory for each pixel while the image is decoded, at most
    """

    width: int
    height: int
    pixel_bytes: int

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels, before the EXIF orientation is applied."""
        return self.width, self.height


def read_header(path: Location, max_pixels: int = MAX_PIXELS) -> Header:
    """Return the header of the image at `path`, without decoding its pixels.

    Raises ImageError where the image is damaged, not supported, or larger than `max_pixels`;
    NoImageError where neither the content nor the name of the file is that of an image, or the name
    is that of a camera's raw file; UnreachableError where an object store cannot be reached.
    """
    with _opened(path, max_pixels, _header) as header:
        return header


def decode(
    path: Location,
    max_pixels: int = MAX_PIXELS,
    *,
    flat: bool = False,
    keep_metadata: bool = False,
    white: White = None,
) -> DecodedImage:
    """Decode the image at `path` to upright 8-bit sRGB, by the policy of the module `decode`.

    flat: composite partly transparent pixels over white; the image still counts as translucent
    keep_metadata: return the metadata of the file, too
    white: the 16-bit sample that becomes white; "auto" for the white that the file names, or else
        the largest sample of the fewest bits that hold all samples; None for 65535

    Raises ImageError, NoImageError and UnreachableError as `read_header` does; ImageError also
    where the pixels are damaged, or a library that decodes them is not installed.
    """
    with _opened(path, max_pixels, _open, whole=True) as opened:
        decoded, brightest, few_greys = _to_srgb(opened, white)
        alphas = decoded.getchannel("A").histogram() if decoded.mode == "RGBA" else [0]
        transparent, translucent = alphas[0] > 0, any(alphas[1:255])
        if decoded.mode == "RGBA" and not (transparent or translucent):
            decoded = decoded.convert("RGB")
        if flat and translucent:
            decoded = _flatten(decoded)
            decoded = decoded if transparent else decoded.convert("RGB")
        metadata = None
        if keep_metadata:
            metadata = read_metadata(opened.image) if opened.image else Metadata()
        upright = _upright(decoded, opened)
        indexed = opened.indexed or few_greys
        return DecodedImage(upright, transparent, translucent, metadata, brightest, indexed)


# -- opening ----------------------------------------------------------------------------------


@dataclass
class _Opened:
    """Image file that is open and whose header has been read.

    size: width and height in pixels, before the EXIF orientation is applied
    image: Pillow's image; None where Pillow does not read the file correctly
    samples: function that decodes the samples at full bit depth; None where only `image` can
    profile: function that returns the ICC profile of the colours, or None for sRGB
    orientation: EXIF orientation, 1 to 8, for a file without `image`
    shown: the samples that the file says are to be shown as black and as white
    indexed: whether the file has palette indices, or a bit for each pixel
    """

    size: tuple[int, int]
    image: ImageFile.ImageFile | None
    samples: Callable[[], Samples] | None = None
    profile: Callable[[], bytes | None] = field(default=lambda: None)
    orientation: int = 1
    shown: tuple[int, int] | None = None
    indexed: bool = False


class _NoWarnings:
    """Context manager that silences warnings as long as any thread is inside its block.

    `catch_warnings` restores, when a thread leaves, the filters that this thread found, though
    other threads may still be inside. So only the first thread to enter silences warnings, and only
    the last one to leave restores them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.__exit__(None, None, None)


_no_warnings = _NoWarnings()


@contextmanager
def _opened(
    path: Location,
    max_pixels: int,
    read: Callable[[str, IO[bytes], int], T],
    *,
    whole: bool = False,
) -> Iterator[T]:
    """Open the file at `path` and yield what `read` returns for its header.

    read: function of the format, the file and the limit on pixels
    whole: whether all of the file will be read, so that a remote object is fetched by one request

    Raises ImageError in place of every exception but UnreachableError, also of those in the `with`
    block: decoders raise nearly every kind on hostile files.
    """
    kind = None
    try:
        with closing(_file(path, max_pixels, whole=whole)) as file, _no_warnings:
            kind = _kind(path.name, file.read(HEAD))
            yield read(kind, file, max_pixels)
    except (ImageError, UnreachableError):
        raise
    except Exception as error:
        raise ImageError(_reason(error, kind)) from error


def _file(path: Location, max_pixels: int, *, whole: bool) -> IO[bytes]:
    """Return the file at `path`, open for reading; a remote one that is read whole is in memory.

    Raises ImageError or NoImageError where the file is not a regular one, is empty, or has more
    bytes than `max_pixels` pixels can need.
    """
    most = max_pixels * _BYTES_PER_PIXEL + _BYTES_BESIDE
    data = path.read_at_most(most) if whole and isinstance(path, ObjectPath) else None
    if data:  # fetched by one request; asking for the size would be another
        return io.BytesIO(data)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise _no_image(path.name, "not a regular file")
    if status.st_size == 0:
        raise _no_image(path.name, "the file is empty")
    if status.st_size > most:
        reason = (
            f"{status.st_size} bytes are more than {max_pixels} pixels, the limit, can need: "
            "raise --max-pixels"
        )
        if is_called_image(path.name):
            raise ImageError(reason)
        with path.open("rb") as file:
            _kind(path.name, file.read(HEAD))
        raise ImageError(reason)
    return path.open("rb")


def _kind(name: str, head: bytes) -> str:
    """Return the format of a file, one of `FORMATS`, from its name and its first bytes.

    Raises ImageError for a format that is not supported; NoImageError for a camera's raw file, and
    for a file that is no image by content and by name.
    """
    kind = sniff(head)
    if is_called_raw(name):
        raise NoImageError("the raw data of a camera, which are not supported: develop them first")
    if kind:
        return kind
    other = other_image(head)
    if other:
        raise ImageError(f"{other}, which is not supported: convert it to PNG, say")
    raise _no_image(name, "not an image, whatever it is called")


def _no_image(name: str, reason: str) -> ImageError:
    """Return an ImageError for a file whose name is that of an image, else a NoImageError."""
    return ImageError(reason) if is_called_image(name) else NoImageError(reason)


def _header(kind: str, file: IO[bytes], max_pixels: int) -> Header:
    """Return the header of an image file; most JPEGs and PNGs without Pillow, which is slower.

    Raises ImageError where the image is not supported, or has more pixels than `max_pixels`.
    """
    jpeg = read_jpeg_header(file) if kind == "JPEG" else None
    if jpeg and not jpeg.refusal():
        _check_size(kind, (jpeg.width, jpeg.height), max_pixels)
        return Header(jpeg.width, jpeg.height, _DEEP_BYTES if jpeg.is_deep else _PLAIN_BYTES)
    png = read_png_header(file) if kind == "PNG" else None
    if png and b"acTL" not in png.chunks:
        _check_size(kind, (png.width, png.height), max_pixels)
        if b"cICP" in png.chunks:
            profile_of_png(read_code_points(file), {})  # raises ImageError for PQ and HLG
        with_alpha = _WITH_ALPHA_BYTES if png.has_alpha else _PLAIN_BYTES
        return Header(png.width, png.height, _DEEP_BYTES if png.bits == 16 else with_alpha)
    opened = _open(kind, file, max_pixels)
    if kind == "AVIF":
        opened.profile()
    return Header(*opened.size, _pixel_bytes(kind, opened))


def _pixel_bytes(kind: str, opened: _Opened) -> int:
    if opened.image is None or opened.samples is not None:
        return _DEEP_BYTES
    if kind in _THIRSTY:
        return _THIRSTY_BYTES
    return _WITH_ALPHA_BYTES if opened.image.has_transparency_data else _PLAIN_BYTES


def _open(kind: str, file: IO[bytes], max_pixels: int) -> _Opened:
    """Return an image file with its header read, so that only decoding is left.

    Raises ImageError where the image is not supported, or has more pixels than `max_pixels`.
    """
    opened = _open_format(kind, file)
    _check_size(kind, opened.size, max_pixels)
    return opened


def _check_size(kind: str, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if not width or not height:
        raise ImageError(f"{NAMES[kind]} that is damaged: it says no size")
    if width * height > max_pixels:
        raise ImageError(
            f"{width} x {height} pixels are more than the limit of {max_pixels}: raise --max-pixels"
        )


def _open_format(kind: str, file: IO[bytes]) -> _Opened:
    if kind == "TIFF":
        return _open_tiff(file)
    if kind == "JPEG2000":
        return _open_jpeg2000(file)
    if kind == "JPEG":
        header = read_jpeg_header(file)
        _refuse(header.refusal() if header else None)
        if header and header.is_deep:
            orientation, profile = read_jpeg_tags(file)
            return _Opened(
                (header.width, header.height),
                None,
                lambda: read_deep_jpeg(_all_of(file), header),
                lambda: profile,
                orientation,
            )
    if kind == "BMP":
        bmp = read_bmp_header(file)
        _refuse(bmp.refusal() if bmp else None)
    if kind == "PPM":
        _refuse(refusal_of_netpbm(file))
    # Read before Pillow moves on in the file, while the beginning is still in the buffer.
    code_points = read_code_points(file) if kind == "PNG" else b""
    image = _pillow(kind, file)
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise ImageError(f"{NAMES[kind]} of more than one frame: animations are not supported")
    opened = _Opened(
        image.size,
        image,
        profile=lambda: image.info.get("icc_profile"),
        indexed=image.mode in ("P", "PA", "1"),
    )
    if kind == "PNG":
        opened.profile = partial(profile_of_png, code_points, image.info)
        if image.tile and str(image.tile[0].args).endswith(";16B"):
            opened.samples = partial(_png_samples, file)
    if kind == "AVIF":
        opened.profile = partial(profile_of_avif, file, image.info)
    if kind == "BMP":
        opened.profile = partial(profile_of_bmp, file)
    return opened


def _open_tiff(file: IO[bytes]) -> _Opened:
    layout = read_layout(file)
    _refuse(layout.refusal())
    image = _pillow("TIFF", file) if layout.suits_pillow else None
    if image and layout.low_palette:
        image.palette = ImagePalette.raw("RGB;L", bytes(image.tag_v2[_COLOR_MAP]))  # type: ignore[attr-defined]
    deep = image is None or layout.bits[0] > 8
    return _Opened(
        (layout.width, layout.height),
        image,
        partial(read_samples, file, layout) if deep else None,
        lambda: layout.profile,
        layout.orientation,
        layout.shown,
        layout.is_indexed,
    )


def _open_jpeg2000(file: IO[bytes]) -> _Opened:
    header = read_jpeg2000_header(file)
    _refuse(header.refusal())
    samples = partial(_jpeg2000_samples, file, header)
    return _Opened(
        (header.width, header.height),
        _pillow("JPEG2000", file) if header.suits_pillow else None,
        None if header.suits_pillow else samples,
        lambda: header.profile,
        indexed=bool(header.palette),
    )


def _refuse(reason: str | None) -> None:
    if reason:
        raise ImageError(reason)


def _pillow(kind: str, file: IO[bytes]) -> ImageFile.ImageFile:
    """Return the image in `file`, opened by Pillow's own class for the format `kind`.

    `Image.open` would check a limit on pixels that belongs to the whole process, and that this
    package does not set.
    """
    importlib.import_module(f"PIL.{_PLUGINS[kind]}ImagePlugin")
    file.seek(0)
    name = getattr(file, "name", "")  # Pillow memory-maps uncompressed pixels by this
    image = Image.OPEN[kind][0](file, name if isinstance(name, str) else "")
    assert isinstance(image, ImageFile.ImageFile)
    return image


def _all_of(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _png_samples(file: IO[bytes]) -> Samples:
    """Return all samples of a 16-bit PNG at full depth; a transparent colour becomes alpha."""
    codecs = import_codecs("a PNG of 16 bits a sample that is not plain sRGB")
    values = codecs.png_decode(_all_of(file))
    values = values[..., None] if values.ndim == 2 else values
    n = values.shape[2]
    return Samples(
        values, "grey" if n < 3 else "rgb", 16, alpha="straight" if n in (2, 4) else None
    )


def _jpeg2000_samples(file: IO[bytes], header: Any) -> Samples:
    return read_odd_jpeg2000(_all_of(file), header)


# -- decoding ---------------------------------------------------------------------------------


def _to_srgb(opened: _Opened, white: White) -> tuple[Image.Image, int | None, bool]:
    """Return an image as sRGB, mode RGB or RGBA, and two properties of the file's samples.

    These are the bound in `DecodedImage.brightest`, and whether they are at most `FEW_GREYS` greys.
    The EXIF orientation is not applied yet. Raises ImageError where the profile is too large.
    """
    profile = opened.profile()
    if profile and len(profile) > MAX_PROFILE:
        raise ImageError(f"its colour profile has more than {MAX_PROFILE} bytes")
    samples = _deep_samples(opened, profile, white)
    if samples is None:
        assert opened.image is not None
        image = opened.image
        _mend_color_key(image)
        _load(image)
        _clear_uncovered(image)
        few_greys = image.mode == "L" and image.getcolors(FEW_GREYS) is not None
        return to_rgb(image, profile), _brightest_of(opened, image), few_greys
    few_greys = samples.has_few_greys(FEW_GREYS)
    has_light = samples.bits == 16 and samples.colors != "cmyk" and not samples.inverted
    brightest = samples.brightest if has_light else _DIM
    dim = brightest if brightest < _DIM and white is None else None
    if profile and samples.bits > 8 and samples.colors != "cmyk" and _fits(profile, samples):
        return samples.to_srgb(profile, white), dim, few_greys
    return to_rgb(samples.to_image(white), profile), dim, few_greys


def _deep_samples(opened: _Opened, profile: bytes | None, white: White) -> Samples | None:
    """Return the samples at full bit depth, or None where Pillow's 8-bit samples suffice.

    Raises ImageError for samples of 32 bits, and where size and header do not agree.
    """
    image = opened.image
    if image is None:
        assert opened.samples is not None
        samples = opened.samples()
        if samples.values.shape[1::-1] != opened.size:
            raise ImageError("an image that is damaged: its size is not what its header says")
        return samples
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        if opened.samples and profile and not is_srgb(profile, "L"):
            return opened.samples()
        return _grey_samples(image, opened.shown)
    if image.mode in ("I", "F"):
        raise ImageError(
            "samples of 32 bits have no agreed white: convert the image to 16 bits first"
        )
    if opened.samples is None:
        return None
    mode = "L" if image.mode in ("L", "LA") else "RGB"
    is_keyed = isinstance(image.info.get("transparency"), tuple)  # a colour key, of 16-bit RGB
    changes = profile is not None and image.mode != "CMYK" and not is_srgb(profile, mode)
    return opened.samples() if changes or is_keyed or white is not None else None


def _grey_samples(image: ImageFile.ImageFile, shown: tuple[int, int] | None) -> Samples:
    """Return the samples of a grey image of 12 or 16 bits; a transparent grey becomes alpha."""
    _load(image)
    values = np.asarray(image)
    values = (values.clip(0, 65535) if values.dtype != np.uint16 else values).astype(np.uint16)
    bits = 12 if image.format == "TIFF" and _bits_of(image) == 12 else 16
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return Samples(values[..., None], "grey", bits, shown=shown)
    alphas = np.where(values == key, 0, (1 << bits) - 1).astype(np.uint16)
    return Samples(np.stack([values, alphas], axis=-1), "grey", bits, alpha="straight")


def _bits_of(image: Image.Image) -> int:
    bits = image.tag_v2.get(258, (16,))  # type: ignore[attr-defined]
    return int(bits[0] if isinstance(bits, tuple) else bits)


def _fits(profile: bytes, samples: Samples) -> bool:
    """Return whether `profile` can be applied to `samples` and changes their colours."""
    spaces = (b"GRAY", b"RGB ") if samples.colors == "grey" else (b"RGB ",)
    return profile[16:20] in spaces and not is_srgb(
        profile, "L" if samples.colors == "grey" else "RGB"
    )


def _brightest_of(opened: _Opened, image: Image.Image) -> int | None:
    """Return an upper bound of 16-bit samples from their high bytes, which are Pillow's samples.

    Return None where the bound is not in the lower half of the range, or the samples have 8 bits.
    """
    if opened.samples is None or image.mode == "CMYK":
        return None
    extrema = [image.getchannel(band).getextrema()[1] for band in image.getbands() if band != "A"]
    bound = (int(max(extrema)) << 8) | 255  # type: ignore[arg-type]
    return bound if bound < _DIM else None


def _reason(error: Exception, kind: str | None) -> str:
    """Return the message of an ImageError for another exception: one short line for a user.

    The messages of libraries are left out, since only those who know a library understand them.
    """
    if isinstance(error, MemoryError):
        return "takes more memory to decode than there is"
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than twice the limit of this process for Pillow, MAX_IMAGE_PIXELS"
    if "MAX_TEXT_CHUNK" in str(error):
        return f"a PNG whose colour profile or text has more than {ImageFile.SAFEBLOCK} bytes"
    if isinstance(error, OSError) and error.errno and error.strerror:
        return error.strerror
    return f"{NAMES[kind] if kind else 'a file'} that is damaged or cut off"


def _upright(decoded: Image.Image, opened: _Opened) -> Image.Image:
    """Return `decoded`, turned upright by the EXIF orientation of its file."""
    orientation = opened.orientation
    if opened.image:
        try:
            orientation = opened.image.getexif().get(_ORIENTATION, 1)
        except Exception:  # metadata that does not parse says nothing about orientation
            return decoded
    return decoded.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else decoded


def _load(image: ImageFile.ImageFile) -> None:
    """Decode `image` in place; its size must be known to be within the limit on pixels.

    A TIFF gets its memory first: otherwise Pillow checks a limit that belongs to the whole process.
    """
    if image.format == "TIFF":
        image.im = Image.core.new(image.mode, image._tile_size)  # type: ignore[attr-defined]
    image.load()


def _mend_color_key(image: ImageFile.ImageFile) -> None:
    """Scale the transparent grey of a PNG of 2 or 4 bits to 8 bits, as Pillow scales its samples.

    Must run before the image is loaded, which drops the bit depth of the file.
    """
    key = image.info.get("transparency")
    raw_mode = image.tile[0].args if image.format == "PNG" and image.tile else None
    if isinstance(key, int) and raw_mode in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if raw_mode == "L;2" else 17)


def _clear_uncovered(image: Image.Image) -> None:
    """Make the part of a GIF that its frame does not cover transparent, in place.

    Pillow fills that part with palette entry 0.
    """
    if not isinstance(image, GifImagePlugin.GifImageFile):
        return
    left, top, right, bottom = image.dispose_extent or (0, 0, *image.size)
    if (left, top, right, bottom) == (0, 0, *image.size) or "transparency" in image.info:
        return
    covered = Image.new("L", image.size, 0)
    covered.paste(255, (left, top, right, bottom))
    image.im = image.convert("RGBA").im
    image._mode = "RGBA"
    image.putalpha(covered)


def _flatten(image: Image.Image) -> Image.Image:
    """Return an RGBA image with its partly transparent pixels composited over white.

    Fully transparent pixels stay so.
    """
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    white.putalpha(image.getchannel("A").point(lambda alpha: 255 if alpha else 0))
    return white


def _band(samples: NDArray[np.uint8]) -> Band:
    """Return the band of `samples`, (h, w, 3) or (h, w, 4) with alpha."""
    samples = samples.reshape(-1, samples.shape[-1])
    if samples.shape[1] == 3:
        return Band(samples, None)
    pixels, alphas = samples[:, :3].copy(), samples[:, 3].copy()
    pixels[alphas == 0] = 0
    return Band(pixels, None if (alphas == 255).all() else alphas)
