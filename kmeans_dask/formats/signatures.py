"""Recognition of image formats by the first bytes of a file, and of images by file names."""

from __future__ import annotations

import re

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")
HEAD = 64  # bytes at the beginning of a file by which its format is recognised

# Names of the formats in messages, with their articles.
NAMES = {
    "PNG": "a PNG",
    "JPEG": "a JPEG",
    "WEBP": "a WebP",
    "GIF": "a GIF",
    "TIFF": "a TIFF",
    "BMP": "a BMP",
    "PPM": "a Netpbm image",
    "JPEG2000": "a JPEG 2000 image",
    "AVIF": "an AVIF",
}
_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
)
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"}
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}  # sizes of the DIB header, in bytes
# Magic number, white space, then a number or a comment, which tells an image from a text; the
# header of a PAM (P7) is lines of words.
_NETPBM = re.compile(rb"P(?:[1-6][ \t\r\n\x0b\x0c]+[0-9#]|[fF][ \t\r\n]+[0-9]|7\n[A-Z#])")

# Formats that are recognised but not supported: first bytes, and names in messages.
_OTHER_STARTS = (
    (b"8BPS", "a Photoshop document"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    (b"\0\0\x01\0", "an icon (ICO)"),
    (b"\0\0\x02\0", "a cursor (CUR)"),
    (b"icns", "an icon (ICNS)"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"DDS ", "a DirectDraw surface"),
    (b"gimp xcf", "a GIMP document"),
    (b"II\xbc\x01", "a JPEG XR image"),
    (b"qoif", "a QOI image"),
    (b"farbfeld", "a farbfeld image"),
    (b"\x59\xa6\x6a\x95", "a Sun raster image"),
    (b"\x01\xda", "an SGI image"),
    (b"SIMPLE  =", "a FITS image"),
    (b"BPG\xfb", "a BPG image"),
    (b"FLIF", "a FLIF image"),
)
_OTHER_BRANDS = dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "a HEIC image"
)
# Suffixes of image files; a file that has one of them, but is no image, is a damaged image.
_SUFFIXES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".webp", ".gif"),
        *(".tif", ".tiff", ".btf", ".tf8", ".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
        *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".jpm", ".avif", ".avifs"),
        *(".heic", ".heif", ".hif", ".jxl", ".psd", ".psb", ".ico", ".cur", ".icns", ".exr"),
        *(".hdr", ".dds", ".xcf", ".jxr", ".wdp", ".hdp", ".qoi", ".tga", ".pcx", ".sgi", ".ras"),
        *(".xbm", ".xpm", ".fits", ".bpg", ".flif", ".pam"),
    )
)
# Suffixes of cameras' raw files, whose small previews would pass for the photograph.
_RAW = frozenset(
    (
        *(".3fr", ".ari", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq"),
        *(".k25", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw"),
        *(".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
    )
)


def sniff(head: bytes) -> str | None:
    """Return the format in `FORMATS` of a file that begins with `head`, or None for any other file.

    head: the first `HEAD` bytes of the file

    >>> sniff(b"GIF89a..."), sniff(b"P6 2 2 255"), sniff(b"PK...")
    ('GIF', 'PPM', None)
    """
    for start, name in _STARTS:
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return _by_brand(head, _BRANDS)
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return "PPM" if _NETPBM.match(head) else None


def other_image(head: bytes) -> str | None:
    """Return the name of the unsupported image format of a file that begins with `head`.

    Return None where the format is not known, or is supported.

    >>> other_image(b"8BPS...")
    'a Photoshop document'
    """
    for start, name in _OTHER_STARTS:
        if head.startswith(start):
            return name
    return _by_brand(head, _OTHER_BRANDS) if head[4:8] == b"ftyp" else None


def is_called_image(name: str) -> bool:
    """Return whether a file's name says that it is an image.

    >>> is_called_image("a.JPG"), is_called_image("a.json"), is_called_image("b.jpg~")
    (True, False, False)
    """
    return _suffix(name) in _SUFFIXES


def is_called_raw(name: str) -> bool:
    """Return whether a file's name says that it holds the raw data of a camera.

    >>> is_called_raw("DSC_0001.NEF")
    True
    """
    return _suffix(name) in _RAW


def _suffix(name: str) -> str:
    """Return the suffix of a name in lower case, ten times as fast as pathlib does."""
    stem, dot, end = name.rpartition("/")[2].rpartition(".")
    return f".{end.lower()}" if stem and dot and end else ""


def _by_brand(head: bytes, known: dict[bytes, str]) -> str | None:
    """Return the value in `known` of the first brand of an ISO base media file that is in it.

    The major brand comes first, then the compatible brands. Return None where none is in `known`.
    """
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[place : place + 4] for place in range(16, size - 3, 4))]
    return next((known[brand] for brand in brands if brand in known), None)
