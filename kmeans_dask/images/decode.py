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

import numpy as np
from PIL import Image, ImageFile

from kmeans_dask.errors import ImageError
from kmeans_dask.files import Location
from kmeans_dask.formats.samples import Samples
from kmeans_dask.formats.to_srgb import is_srgb, to_rgb
from kmeans_dask.images.decoded_image import DecodedImage
from kmeans_dask.images.image_file import open_image_file
from kmeans_dask.images.metadata import Metadata, read_metadata
from kmeans_dask.images.open_image import OpenImage, open_image
from kmeans_dask.images.pillow_image import clear_uncovered, load_pillow_image, scale_color_key
from kmeans_dask.settings import MAX_PIXELS, White

FEW_GREYS = 32  # levels; a grey image of no more of them may hold class labels, not shades

MAX_PROFILE = 1 << 22  # bytes; those of the largest printers have 3 MB

_ORIENTATION = 0x0112  # EXIF and TIFF tag
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
    with open_image_file(path, max_pixels, open_image, whole=True) as opened:
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


def _to_srgb(opened: OpenImage, white: White) -> tuple[Image.Image, int | None, bool]:
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
        scale_color_key(image)
        load_pillow_image(image)
        clear_uncovered(image)
        few_greys = image.mode == "L" and image.getcolors(FEW_GREYS) is not None
        return to_rgb(image, profile), _brightest_of(opened, image), few_greys
    few_greys = samples.has_few_greys(FEW_GREYS)
    has_light = samples.bits == 16 and samples.colors != "cmyk" and not samples.inverted
    brightest = samples.brightest if has_light else _DIM
    dim = brightest if brightest < _DIM and white is None else None
    if profile and samples.bits > 8 and samples.colors != "cmyk" and _fits(profile, samples):
        return samples.to_srgb(profile, white), dim, few_greys
    return to_rgb(samples.to_image(white), profile), dim, few_greys


def _deep_samples(opened: OpenImage, profile: bytes | None, white: White) -> Samples | None:
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
    load_pillow_image(image)
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


def _brightest_of(opened: OpenImage, image: Image.Image) -> int | None:
    """Return an upper bound of 16-bit samples from their high bytes, which are Pillow's samples.

    Return None where the bound is not in the lower half of the range, or the samples have 8 bits.
    """
    if opened.samples is None or image.mode == "CMYK":
        return None
    extrema = [image.getchannel(band).getextrema()[1] for band in image.getbands() if band != "A"]
    bound = (int(max(extrema)) << 8) | 255  # type: ignore[arg-type]
    return bound if bound < _DIM else None


def _upright(decoded: Image.Image, opened: OpenImage) -> Image.Image:
    """Return `decoded`, turned upright by the EXIF orientation of its file."""
    orientation = opened.orientation
    if opened.image:
        try:
            orientation = opened.image.getexif().get(_ORIENTATION, 1)
        except Exception:  # metadata that does not parse says nothing about orientation
            return decoded
    return decoded.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else decoded


def _flatten(image: Image.Image) -> Image.Image:
    """Return an RGBA image with its partly transparent pixels composited over white.

    Fully transparent pixels stay so.
    """
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    white.putalpha(image.getchannel("A").point(lambda alpha: 255 if alpha else 0))
    return white
