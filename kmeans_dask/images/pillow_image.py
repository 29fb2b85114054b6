"""Images of Pillow: they are opened and loaded, and repaired where Pillow reads them wrongly."""

from __future__ import annotations

import importlib
from typing import IO

from PIL import GifImagePlugin, Image, ImageFile

_PLUGINS = {
    "PNG": "Png", "JPEG": "Jpeg", "WEBP": "WebP", "GIF": "Gif", "TIFF": "Tiff", "BMP": "Bmp",
    "PPM": "Ppm", "JPEG2000": "Jpeg2K", "AVIF": "Avif",
}  # fmt: skip


def open_pillow_image(kind: str, file: IO[bytes]) -> ImageFile.ImageFile:
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


def load_pillow_image(image: ImageFile.ImageFile) -> None:
    """Decode `image` in place; its size must be known to be within the limit on pixels.

    A TIFF gets its memory first: otherwise Pillow checks a limit that belongs to the whole process.
    """
    if image.format == "TIFF":
        image.im = Image.core.new(image.mode, image._tile_size)  # type: ignore[attr-defined]
    image.load()


def scale_color_key(image: ImageFile.ImageFile) -> None:
    """Scale the transparent grey of a PNG of 2 or 4 bits to 8 bits, as Pillow scales its samples.

    Must run before the image is loaded, which drops the bit depth of the file.
    """
    key = image.info.get("transparency")
    raw_mode = image.tile[0].args if image.format == "PNG" and image.tile else None
    if isinstance(key, int) and raw_mode in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if raw_mode == "L;2" else 17)


def clear_uncovered(image: Image.Image) -> None:
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
