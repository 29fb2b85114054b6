"""Reader of the directories of TIFF files, and of the samples that Pillow does not read correctly.

TIFF, revision 6.0 (1992), sections 2 and 8; TIFF Technical Note 1 (trees). The layouts that Pillow
reads correctly were found by comparing Pillow with libtiff over all layouts in this module.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from kmeans_dask.errors import ImageError
from kmeans_dask.formats.samples import Samples, import_codecs

_MAX_PAGES = 1 << 16
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_DESCRIPTION, _ORIENTATION, _SAMPLES, _PLANAR, _SUBFILE = 270, 274, 277, 284, 254
_COLOR_MAP, _EXTRA, _FORMAT, _SMIN, _SMAX = 320, 338, 339, 340, 341
_INK_SET, _COEFFICIENTS, _SUBSAMPLING, _REFERENCE = 332, 529, 530, 532
_PROFILE, _RAW_CAMERA = 34675, 50706  # ICC profile; DNGVersion
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_COLORS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3, _LAB: 3}
_UNSAID, _PREMULTIPLIED, _STRAIGHT = 0, 1, 2  # values of ExtraSamples; the last two are alpha
# Compressions that Pillow reads: none, three of CCITT, LZW, old and new JPEG, deflate, PackBits,
# old deflate, LZMA, Zstandard.
_COMPRESSIONS = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000))
_FAX = (2, 3, 4)
_UNSIGNED = (1, 4)  # values of SampleFormat: unsigned, and undefined
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType: a smaller copy, or a mask, of another page
_KINDS = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
_SHOWN = re.compile(rb"^(min|max)=(\d+)(?:\.\d*)?\s*$", re.MULTILINE)  # as ImageJ writes them

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else it prints its warnings


@dataclass(frozen=True)
class Layout:
    """Layout of the first page of a TIFF file, and the number of pages in the file.

    bits: bits of each sample of a pixel
    planar: whether each channel is stored apart from the others
    extra: kinds of the samples beyond the colours, values of the tag ExtraSamples
    pages: number of pages that are not smaller copies or masks of another page
    is_known: whether Pillow reads the header of the file and the tag PhotometricInterpretation is
        there; false for a big-endian BigTIFF
    is_raw: whether the file is the raw data of a camera (DNG)
    shown: the samples to be shown as black and as white; None where the file does not name them
    low_palette: whether palette entries have values of 0 to 255 instead of 0 to 65535, as readers
        conclude from the largest one
    other_inks: whether four inks are others than cyan, magenta, yellow and black
    plain_ycbcr: whether YCbCr is not subsampled, and has full range
    profile: ICC profile of the colours; None where there is none
    """

    width: int
    height: int
    bits: tuple[int, ...]
    photometric: int
    planar: bool
    extra: tuple[int, ...]
    sample_format: tuple[int, ...]
    fill_order: int
    orientation: int
    compression: int
    pages: int
    is_known: bool
    is_raw: bool
    shown: tuple[int, int] | None
    low_palette: bool
    other_inks: bool
    plain_ycbcr: bool
    profile: bytes | None

    @property
    def n_colors(self) -> int:
        """Return the number of samples of a pixel that are colours, without the extra samples."""
        return len(self.bits) - len(self.extra)

    @property
    def is_indexed(self) -> bool:
        """Return whether a pixel is a palette index, or a single bit."""
        return self.photometric == _PALETTE or self.bits == (1,)

    @property
    def alpha_at(self) -> int | None:
        """Return the index in `extra` of the alpha sample, or None where no sample is alpha.

        A single extra sample of unspecified kind is alpha, too, as it is to all readers.
        """
        said = (i for i, kind in enumerate(self.extra) if kind in (_PREMULTIPLIED, _STRAIGHT))
        return next(said, 0 if self.extra == (_UNSAID,) else None)

    def refusal(self) -> str | None:
        """Return the reason why the image cannot be decoded, or None where it can."""
        if self.is_raw:
            return "the raw data of a camera (DNG), which are not supported: develop them first"
        if self.pages > 1:
            return (
                f"a TIFF of {self.pages} pages, and one page a file is read: write each to a file "
                "of its own"
            )
        formats = set(self.sample_format) - set(_UNSIGNED)
        if formats:
            kind = _KINDS.get(min(formats), "unknown")
            return f"a TIFF of {kind} samples, which have no agreed white: convert it first"
        if max(self.bits) > 16:
            return (
                f"a TIFF of {max(self.bits)} bits a sample, which have no agreed white: convert it "
                "to 16 bits first"
            )
        if self.photometric not in _COLORS:
            return (
                f"a TIFF of photometric interpretation {self.photometric}, which is not supported"
            )
        if self.n_colors != _COLORS[self.photometric] or self.extra.count(_UNSAID) > 1:
            return f"a TIFF of {_counted(len(self.bits), 'band')} that are no colours"
        if self.photometric == _CMYK and self.extra:
            beside = "an alpha channel" if _UNSAID not in self.extra else "another band"
            return f"a TIFF of CMYK and {beside}, which is not supported"
        if len(set(self.bits)) > 1:
            return "a TIFF whose samples differ in bits, which is not supported"
        if self.photometric == _CMYK and self.other_inks:
            return "a TIFF of inks that are not said to be CMYK, which is not supported"
        layout = " and planar" * self.planar + " and an extra band" * bool(self.extra)
        if self.photometric == _LAB and (self.bits[0] != 8 or layout):
            return f"a TIFF of CIELab of {self.bits[0]} bits{layout}, which is not supported"
        if self.photometric == _YCBCR and not self.suits_pillow:
            return f"a TIFF of YCbCr of {self.bits[0]} bits in this layout, which is not supported"
        return None

    @property
    def suits_pillow(self) -> bool:
        """Return whether Pillow reads the image correctly; if not, tifffile is used."""
        n, bits = len(self.bits), self.bits[0]
        if self.compression not in _COMPRESSIONS:
            return False
        mirrored = self.fill_order != 1 and (bits > 1 or self.photometric == _PALETTE)
        if not self.is_known or (self.planar and n > 1) or mirrored:
            return False
        if self.photometric == _BLACK_IS_ZERO and n == 1:
            return bits in (1, 2, 4, 8, 16)
        if self.photometric in (_WHITE_IS_ZERO, _PALETTE) and n == 1:
            return bits in (1, 2, 4, 8)
        if self.photometric == _BLACK_IS_ZERO:
            return bits == 8 and self.extra in ((_STRAIGHT,), (_PREMULTIPLIED,))
        if self.photometric == _RGB:
            plain = self.extra in ((), (_STRAIGHT,))
            return bits in (8, 16) and (plain or (bits == 8 and self.extra == (_PREMULTIPLIED,)))
        if self.photometric == _YCBCR and self.compression == 1:
            return bits == 8 and not self.extra and self.plain_ycbcr
        return bits == 8 and not self.extra and self.photometric in (_CMYK, _YCBCR, _LAB)


def read_layout(file: IO[bytes]) -> Layout:
    """Return the layout of a TIFF or BigTIFF file of either byte order.

    Raises ImageError where the directory is damaged.
    """
    file.seek(0)
    head = file.read(8)
    big = b"+" in head[2:4]
    order = head[:2]
    if big:  # Pillow looks for the + in the place that it has in a little-endian file
        head = b"II+\0" + head[4:] + file.read(8)
    try:
        directory = ImageFileDirectory_v2(head, prefix=order)
        tags, pages, seen = None, 0, set[int]()
        place = directory.next
        while place and place not in seen and len(seen) < _MAX_PAGES:
            seen.add(place)
            file.seek(place)
            directory.load(file)
            tags = tags or dict(directory)
            pages += not _first(directory, _SUBFILE, 0) & (_REDUCED | _MASK)
            place = directory.next
        return _layout_of(tags or {}, max(1, pages), not (big and order == b"MM"))
    except ImageError:
        raise
    except Exception as error:  # damaged directories raise nearly every kind
        raise ImageError("a TIFF that is damaged: its directory cannot be read") from error


def _layout_of(tags: Mapping[int, Any], pages: int, known: bool) -> Layout:
    width, height = _first(tags, _WIDTH, 0), _first(tags, _HEIGHT, 0)
    n = _first(tags, _SAMPLES, 1)
    bits = _all(tags, _BITS) or (1,)
    if not (width > 0 and height > 0 and 0 < n < 1 << 16 and all(bit > 0 for bit in bits)):
        raise ImageError("a TIFF that is damaged: it says no size")
    bits = tuple((bits * n)[:n]) if len(bits) < n else bits[:n]
    compression = _first(tags, _COMPRESSION, 1)
    photometric = _first(tags, _PHOTOMETRIC, -1)
    if photometric < 0:  # no tag: guessed as libtiff guesses; Pillow guesses otherwise
        known = False
        photometric = _RGB if n > 2 else _WHITE_IS_ZERO if compression in _FAX else _BLACK_IS_ZERO
    extra = _all(tags, _EXTRA)
    missing = n - _COLORS.get(photometric, n) - len(extra)
    if missing > 0:  # a fourth sample of RGB without ExtraSamples is alpha to all readers
        alone = missing == 1 and photometric == _RGB and not extra
        extra = (_STRAIGHT,) if alone else (*extra, *(0,) * missing)
    colors = _all(tags, _COLOR_MAP)
    profile = tags.get(_PROFILE)
    return Layout(
        width,
        height,
        bits,
        photometric,
        _first(tags, _PLANAR, 1) == 2,
        extra[: max(0, n - 1)],
        _all(tags, _FORMAT) or (1,),
        _first(tags, _FILL_ORDER, 1),
        _first(tags, _ORIENTATION, 1),
        compression,
        pages,
        known,
        _RAW_CAMERA in tags,
        _shown(tags),
        photometric == _PALETTE and bool(colors) and max(colors) < 256,
        _first(tags, _INK_SET, 1) != 1,
        _all(tags, _SUBSAMPLING) == (1, 1) and not {_COEFFICIENTS, _REFERENCE} & tags.keys(),
        profile if isinstance(profile, bytes) else None,
    )


def read_samples(file: IO[bytes], layout: Layout) -> Samples:
    """Return all samples of the first page of a TIFF file, decoded by tifffile.

    Raises ImageError where imagecodecs is not installed, or the compression is not supported.
    """
    import_codecs(_described(layout))
    import tifffile

    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        try:
            values = page.asarray(maxworkers=1)
        except ValueError as error:
            if "COMPRESSION" in str(error):
                name = getattr(page.compression, "name", layout.compression)
                raise ImageError(f"a TIFF compressed by {name}, which is not supported") from error
            raise
        colors = page.colormap if layout.photometric == _PALETTE else None
    n = len(layout.bits)
    if layout.planar and n > 1:
        values = np.moveaxis(values, 0, -1)
    values = values.reshape(layout.height, layout.width, n)
    alphas, alpha = _alphas_of(values, layout)
    if colors is not None:
        return _through_palette(values, colors, alphas, alpha, layout)
    kind = {1: "grey", 3: "rgb", 4: "cmyk"}[layout.n_colors]
    values = values[..., : layout.n_colors]
    return Samples(
        np.ascontiguousarray(values if alpha is None else np.dstack([values, alphas])),
        kind,  # type: ignore[arg-type]
        layout.bits[0],
        layout.photometric == _WHITE_IS_ZERO,
        alpha,  # type: ignore[arg-type]
        layout.shown,
    )


def _alphas_of(values: Any, layout: Layout) -> tuple[Any, str | None]:
    """Return the alpha samples (h, w) in `values` (h, w, c), and their kind.

    The kind is "straight" or "premultiplied". Both are None where there is no alpha.
    """
    at = layout.alpha_at
    if at is None:
        return None, None
    alphas = values[..., layout.n_colors + at]
    if layout.extra[at] == _UNSAID and not alphas.any():  # no alpha: the image would be invisible
        return None, None
    return alphas, "premultiplied" if layout.extra[at] == _PREMULTIPLIED else "straight"


def _through_palette(
    values: Any, colors: Any, alphas: Any, alpha: str | None, layout: Layout
) -> Samples:
    """Return the samples of a palette image as RGB, with alpha where there is any.

    values: (h, w, c) palette indices, then extra samples
    colors: (3, n) palette entries
    alphas, alpha: (h, w) and their kind, as `_alphas_of` returns them
    """
    full, bits = (255, 8) if layout.low_palette else (65535, 16)
    entries = np.asarray(colors, np.uint16).T
    picked = entries.take(values[..., 0], axis=0, mode="clip")
    if alphas is None:
        return Samples(picked, "rgb", bits)
    scaled = (alphas.astype(np.uint32) * full // ((1 << layout.bits[0]) - 1)).astype(np.uint16)
    return Samples(np.dstack([picked, scaled]), "rgb", bits, alpha=alpha)  # type: ignore[arg-type]


def _shown(tags: Mapping[int, Any]) -> tuple[int, int] | None:
    """Return the samples to be shown as black and as white, or None where no valid ones are named.

    ImageJ's min and max in the description come first, then SMinSampleValue and SMaxSampleValue.
    """
    text = tags.get(_DESCRIPTION, b"")
    text = text.encode("latin-1", "replace") if isinstance(text, str) else text
    found: dict[bytes, int] = {}
    if isinstance(text, bytes) and text.startswith(b"ImageJ="):
        found = {name: int(value[:9]) for name, value in _SHOWN.findall(text[: 1 << 12])}
    low, high = found.get(b"min", _first(tags, _SMIN, 0)), found.get(b"max", _first(tags, _SMAX, 0))
    return (int(low), int(high)) if 0 <= low < high < 1 << 16 else None


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" + "s" * (n != 1)


def _described(layout: Layout) -> str:
    planar = "planar " if layout.planar and len(layout.bits) > 1 else ""
    return f"a {planar}TIFF of {len(layout.bits)} x {layout.bits[0]} bits a pixel"


def _all(tags: Mapping[int, Any], tag: int) -> tuple[int, ...]:
    value = tags.get(tag, ())
    return tuple(map(int, value)) if isinstance(value, tuple | list) else (int(value),)


def _first(tags: Mapping[int, Any], tag: int, otherwise: int) -> int:
    return next(iter(_all(tags, tag)), otherwise)
