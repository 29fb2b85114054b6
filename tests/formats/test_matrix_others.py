"""Tests that every supported kind of JPEG, GIF, WebP, AVIF, BMP and Netpbm is decoded right."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from kmeans_dask.formats.icc import SRGB_CURVE, SRGB_PRIMARIES, Curve, make_profile
from tests.formats.bmp_files import MASKS, RAW, RLE4, RLE8, Bmp
from tests.formats.gif_files import Gif
from tests.formats.matrix import (
    Case,
    blocks,
    by_vips,
    in_srgb,
    mismatches,
    of_inks,
    ramps,
    report,
    slopes,
)
from tests.formats.test_matrix_png import P3, shown

LINEAR = make_profile(SRGB_PRIMARIES, Curve(1))
DISPLAY_P3 = make_profile(P3, SRGB_CURVE)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def muted(channels: int) -> Any:
    """Return slopes away from the edges of sRGB, where one level off may become twenty."""
    return 100 + slopes(channels) // 3


def checked(cases: list[Case], folder: Path, n: int, *, evaluation: bool = True) -> None:
    wrong = mismatches(cases, folder, by_vips if evaluation else None)
    assert not wrong, report(wrong, len(cases))
    assert len(cases) == n


# -- JPEG ----------------------------------------------------------------------------------------


def test_jpeg(tmp_path: Path) -> None:
    rgb = Image.fromarray(slopes(3))
    cases = [
        Case(
            name=f"{mode}, progressive {progressive}, subsampling {subsampling}, {quality}",
            content=saved(
                rgb.convert(mode), "JPEG", progressive=progressive, quality=quality,
                **({} if mode == "L" else {"subsampling": subsampling}),
            ),
            tolerance=2,
        )
        for mode, progressive, subsampling, quality in product(
            ("RGB", "L"), (False, True), (0, 1, 2), (50, 95)
        )
    ]  # fmt: skip
    for subsampling in ("444", "422", "420", "440", "411"):
        content = imagecodecs.jpeg8_encode(slopes(3), level=95, subsampling=subsampling)
        cases.append(Case(name=f"by libjpeg, {subsampling}", content=bytes(content), tolerance=3))
    content = imagecodecs.jpeg8_encode(slopes(3), level=95, colorspace="rgb", outcolorspace="rgb")
    pixels = in_srgb(slopes(3), None, 255)
    cases.append(Case(name="samples of RGB", content=bytes(content), pixels=pixels, tolerance=3))
    checked(cases, tmp_path, 30)


def test_jpeg_of_inks(tmp_path: Path) -> None:
    """Check inks that are stored inverted, as Adobe's encoders do."""
    inks = slopes(4)
    pixels = in_srgb(of_inks(inks, 255), None, 255)
    cases = []
    for space in ("cmyk", "ycck"):
        content = imagecodecs.jpeg8_encode(
            255 - inks, level=98, colorspace="cmyk", outcolorspace=space, subsampling="444"
        )
        cases.append(Case(name=space, content=bytes(content), pixels=pixels, tolerance=5))
    content = saved(Image.frombytes("CMYK", (64, 48), inks.tobytes()), "JPEG", quality=98)
    cases.append(Case(name="CMYK by Pillow", content=content, pixels=pixels, tolerance=5))
    checked(cases, tmp_path, 3, evaluation=False)


def with_segment(content: bytes, marker: int, data: bytes) -> bytes:
    """Return a JPEG file with one more segment at its beginning."""
    size = (len(data) + 2).to_bytes(2, "big")
    return content[:2] + bytes((0xFF, marker)) + size + data + content[2:]


def twelve(values: Any, **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg_encode(values, level=98, bitspersample=12, **options))


def test_jpeg_of_12_bits(tmp_path: Path) -> None:
    """Check against the samples alone, as neither libvips nor Pillow reads 12 bits."""
    values = slopes(3).astype(np.uint16) * 16
    pixels = in_srgb(values, None, 4095)
    tags = Image.Exif()
    tags[0x0112] = 6
    profile = b"ICC_PROFILE\0\1\1" + LINEAR
    linear = np.dstack([shown(values, 4095, SRGB_PRIMARIES, 1), np.full((48, 64), 255)])
    grey = np.ascontiguousarray(values[..., 0])
    cases = [
        Case(name="4:4:4", content=twelve(values, subsampling="444"), pixels=pixels, tolerance=2),
        Case(name="4:2:0", content=twelve(values, subsampling="420"), pixels=pixels, tolerance=4),
        Case(name="grey", content=twelve(grey), pixels=in_srgb(values[..., :1], None, 4095)),
        Case(
            name="turned",
            content=with_segment(twelve(values, subsampling="444"), 0xE1, tags.tobytes()),
            pixels=np.rot90(pixels, -1),
            tolerance=2,
        ),
        Case(
            name="with a profile",
            content=with_segment(twelve(values, subsampling="444"), 0xE2, profile),
            pixels=linear,
            tolerance=4,
        ),
    ]
    checked(cases, tmp_path, 5, evaluation=False)


def test_jpeg_that_is_refused_is_refused_by_name(tmp_path: Path) -> None:
    rgb, inks = slopes(3), slopes(4).astype(np.uint16) * 16
    plain = saved(Image.fromarray(rgb), "JPEG")
    frame = plain.index(b"\xff\xc0")
    cases = [
        Case(
            name="a lossless JPEG",
            content=bytes(imagecodecs.jpeg8_encode(rgb, lossless=True)),
            refusal="a lossless JPEG",
        ),
        Case(
            name="JPEG-LS", content=bytes(imagecodecs.jpegls_encode(rgb)), refusal="a JPEG-LS image"
        ),
        Case(
            name="CMYK of 12 bits",
            content=twelve(inks, colorspace="cmyk", outcolorspace="cmyk"),
            refusal="a CMYK JPEG of 12 bits",
        ),
        Case(
            name="hierarchical",
            content=plain[: frame + 1] + b"\xc5" + plain[frame + 2 :],
            refusal="a hierarchical JPEG",
        ),
        Case(
            name="16 bits",
            content=plain[: frame + 4] + b"\x10" + plain[frame + 5 :],
            refusal="a JPEG of 16 bits",
        ),
        Case(
            name="2 components",
            content=plain[: frame + 9] + b"\2" + plain[frame + 10 :],
            refusal="a JPEG of 2 components",
        ),
    ]
    checked(cases, tmp_path, 6)


def test_turned(tmp_path: Path) -> None:
    cases = []
    for kind, turn in product(("JPEG", "WEBP", "PNG"), range(1, 9)):
        tags = Image.Exif()
        tags[0x0112] = turn
        options = {"lossless": True} if kind == "WEBP" else {}
        content = saved(Image.fromarray(slopes(3, (20, 37))), kind, exif=tags, **options)
        cases.append(Case(name=f"{kind}, turn {turn}", content=content, tolerance=2))
    checked(cases, tmp_path, 24)


def test_profiles(tmp_path: Path) -> None:
    """Check JPEG, WebP and AVIF; other tests check profiles of PNG, TIFF, JPEG 2000 and BMP."""
    cases = []
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 98, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 98, "subsampling": "4:4:4", "speed": 9},
    }
    for kind, (name, profile, lights, exponent) in product(
        options, (("P3", DISPLAY_P3, P3, None), ("linear", LINEAR, SRGB_PRIMARIES, 1))
    ):
        for n in (1, 3):
            values = muted(n)
            rgb = np.ascontiguousarray(np.broadcast_to(values, (48, 64, 3)))
            image = Image.fromarray(rgb if n == 3 or kind == "WEBP" else rgb[..., 0])
            pixels = np.dstack([shown(rgb, 255, lights, exponent), np.full((48, 64), 255)])
            content = saved(image, kind, icc_profile=profile, **options[kind])
            cases.append(
                Case(name=f"{kind}, {n} x {name}", content=content, pixels=pixels, tolerance=6)
            )
    checked(cases, tmp_path, 12, evaluation=False)


# -- GIF -----------------------------------------------------------------------------------------

CANVASES = (
    (None, (0, 0)), ((32, 30), (5, 7)), ((32, 30), (0, 0)), ((17, 13), (3, 2)), ((10, 9), (0, 0)),
    ((64, 64), (47, 51)), ((8, 8), (20, 20)),
)  # fmt: skip


def gifs() -> Iterator[Case]:
    rng = np.random.default_rng(2)
    for n, (canvas, place), transparent, interlaced, background, kept in product(
        (2, 4, 256), CANVASES, (None, 0, 1), (False, True), (0, 1), ("global", "local", "both")
    ):
        whole, own = (rng.integers(0, 256, (n, 3)).astype(np.uint8) for _ in range(2))
        gif = Gif(
            values=rng.integers(0, n, (13, 17)).astype(np.uint8),
            colors=None if kept == "local" else whole,
            local=None if kept == "global" else own,
            canvas=canvas,
            place=place,
            transparent=transparent,
            interlaced=interlaced,
            background=background,
        )
        pixels = gif.picture()
        hole = transparent is None and pixels[..., 3].min() == 0
        yield Case(
            name=f"{n} colors, {canvas}, {place}, {transparent=}, {interlaced=}, {kept}",
            content=gif.encode(),
            pixels=pixels,
            tolerance=0,
            unjudged="libvips makes what is not covered black; browsers do not" if hole else "",
        )


def test_gif(tmp_path: Path) -> None:
    checked(list(gifs()), tmp_path, 756)


# -- WebP and AVIF -------------------------------------------------------------------------------


def test_webp(tmp_path: Path) -> None:
    cases = []
    for n, lossless, exact in product((3, 4), (False, True), (False, True)):
        for name, values in (("slopes", slopes(n)), ("ramps", ramps(n, 8).astype(np.uint8))):
            content = saved(
                Image.fromarray(values), "WEBP", lossless=lossless, exact=exact, quality=90
            )
            pixels = in_srgb(values[..., :3], values[..., 3] if n == 4 else None, 255)
            cases.append(
                Case(
                    name=f"{n} x {name}, {lossless=}, {exact=}",
                    content=content,
                    pixels=pixels if lossless else None,
                    tolerance=1 if lossless else 3,
                )
            )
    checked(cases, tmp_path, 16)


def avif(values: Any, bits: int, layout: str, **options: Any) -> bytes:
    whole = values[..., 0] if values.shape[2] == 1 else values
    deep = np.rint(whole / 255 * ((1 << bits) - 1)).astype(np.uint16 if bits > 8 else np.uint8)
    return bytes(
        imagecodecs.avif_encode(
            deep, level=97, speed=9, bitspersample=bits, pixelformat=layout, numthreads=1, **options
        )
    )


def test_avif(tmp_path: Path) -> None:
    cases = []
    layouts = [*product(("444", "422", "420"), (3, 4)), *product(("400",), (1, 2))]
    for bits, (layout, n) in product((8, 10, 12), layouts):
        values = slopes(n)
        has_alpha = n in (2, 4)
        pixels = in_srgb(values[..., : n - has_alpha], values[..., -1] if has_alpha else None, 255)
        name = f"{n} x {bits} bits, {layout}"
        content = avif(values, bits, layout)
        cases.append(Case(name=name, content=content, pixels=pixels, tolerance=5))
    checked(cases, tmp_path, 24)


def test_avif_colors(tmp_path: Path) -> None:
    """Check code points: a television's curve is taken for that of sRGB, as in browsers."""
    cases = []
    for (primaries, lights), (transfer, exponent), bits in product(
        ((1, SRGB_PRIMARIES), (12, P3)), ((13, None), (1, None), (4, 2.2)), (8, 10)
    ):
        values = muted(3)
        content = avif(values, bits, "444", primaries=primaries, transfer=transfer, matrix=1)
        rgb = shown(values, 255, lights, exponent)
        cases.append(
            Case(
                name=f"{primaries}/{transfer}, {bits} bits",
                content=content,
                pixels=np.dstack([rgb, np.full((48, 64), 255)]),
                tolerance=5,
            )
        )
    for (name, transfer), bits in product((("PQ", 16), ("HLG", 18)), (8, 10, 12)):
        content = avif(slopes(3), bits, "444", primaries=9, transfer=transfer, matrix=9)
        cases.append(Case(name=f"{name}, {bits}", content=content, refusal=f"range ({name})"))
    checked(cases, tmp_path, 18, evaluation=False)


# -- BMP -----------------------------------------------------------------------------------------


def bmps() -> Iterator[Case]:
    rng = np.random.default_rng(3)
    versions = [(1, False), *product((3, 4, 5), (False, True))]
    for (version, top_down), bits in product(versions, (1, 4, 8)):
        colors = rng.integers(0, 256, (1 << bits, 3)).astype(np.uint8)
        values = rng.integers(0, 1 << bits, (11, 19))
        codings = [RAW] + ([RLE8 if bits == 8 else RLE4] if bits > 1 and version > 1 else [])
        for coding in codings:
            bmp = Bmp(
                values=values, bits=bits, colors=colors, compression=coding, version=version,
                top_down=top_down,
            )  # fmt: skip
            name = f"version {version}, {bits} bits, coding {coding}, {top_down=}"
            pixels = in_srgb(colors[values], None, 255)
            yield Case(name=name, content=bmp.encode(), pixels=pixels, tolerance=0)
    samples = rng.integers(0, 256, (11, 19, 4))
    red, green, blue, alpha = (samples[..., i] for i in range(4))
    layouts = [
        ((0xFF0000, 0xFF00, 0xFF), 24, RAW), ((0xFF0000, 0xFF00, 0xFF), 32, RAW),
        ((0xFF0000, 0xFF00, 0xFF), 32, MASKS), ((0xFF000000, 0xFF0000, 0xFF00), 32, MASKS),
        ((0x7C00, 0x3E0, 0x1F), 16, RAW), ((0x7C00, 0x3E0, 0x1F), 16, MASKS),
        ((0xF800, 0x7E0, 0x1F), 16, MASKS), ((0xFF0000, 0xFF00, 0xFF, 0xFF000000), 32, MASKS),
        ((0xFF, 0xFF00, 0xFF0000, 0xFF000000), 32, MASKS),
        ((0xFF000000, 0xFF0000, 0xFF00, 0xFF), 32, MASKS),
    ]  # fmt: skip
    for (version, top_down), (masks, bits, coding) in product(versions, layouts):
        if (version == 1 and bits != 24) or (version < 4 and len(masks) == 4):
            continue
        value, planes = np.zeros_like(red), []
        for plane, mask in zip((red, green, blue, alpha), masks, strict=False):
            shift, wide = (mask & -mask).bit_length() - 1, mask.bit_count()
            value |= plane >> (8 - wide) << shift
            planes.append((plane >> (8 - wide)) / ((1 << wide) - 1) * 255)
        if len(masks) == 3 and bits == 32 and masks[0] == 0xFF0000:
            value |= alpha << 24  # bits outside the masks, which must be ignored
        bmp = Bmp(
            values=value, bits=bits, compression=coding, version=version, top_down=top_down,
            masks=masks if coding == MASKS else (),
        )  # fmt: skip
        yield Case(
            name=f"version {version}, {bits} bits, masks {masks}, {top_down=}",
            content=bmp.encode(),
            pixels=in_srgb(np.dstack(planes[:3]), planes[3] if len(planes) > 3 else None, 255),
        )


def test_bmp(tmp_path: Path) -> None:
    checked(list(bmps()), tmp_path, 88, evaluation=False)


def test_a_bmp_goes_through_the_profile_that_it_holds(tmp_path: Path) -> None:
    """Check profiles of version 5; primaries and gammas of version 4 do nothing, as in browsers."""
    values = muted(3).astype(int)
    packed = values[..., 0] << 16 | values[..., 1] << 8 | values[..., 2]
    clear = np.full((48, 64), 255)
    calibrated = bytes(4) + b"".join(
        round(value * (1 << 30)).to_bytes(4, "little")
        for value in (0.64, 0.33, 0.03, 0.21, 0.71, 0.08, 0.15, 0.06, 0.79)
    )
    cases = [
        Case(
            name="a profile",
            content=Bmp(values=packed, bits=24, version=5, profile=LINEAR).encode(),
            pixels=np.dstack([shown(values, 255, SRGB_PRIMARIES, 1), clear]),
        ),
        *(
            Case(
                name=f"gamma {gamma}",
                content=Bmp(
                    values=packed,
                    bits=24,
                    version=4,
                    head=calibrated + round(gamma * 65536).to_bytes(4, "little") * 3,
                ).encode(),
                pixels=in_srgb(values, None, 255),
                tolerance=0,
            )
            for gamma in (1, 1 / 2.2, 2.2)
        ),
    ]
    checked(cases, tmp_path, 4, evaluation=False)


def test_bmp_that_is_refused_is_refused_by_name(tmp_path: Path) -> None:
    values, many = np.zeros((4, 4), int), np.zeros((300, 3), np.uint8)
    cases = [
        Case(name=reason, content=bmp.encode(), refusal=reason)
        for reason, bmp in {
            "bit masks F00, F0, F, 0": Bmp(
                values=values, bits=16, compression=MASKS, masks=(0xF00, 0xF0, 0xF)
            ),
            "bit masks 7C00, 3E0, 1F, 8000": Bmp(
                values=values, bits=16, compression=MASKS, version=4,
                masks=(0x7C00, 0x3E0, 0x1F, 0x8000),
            ),
            "bit masks 3FF00000, FFC00, 3FF, 0": Bmp(
                values=values, bits=32, compression=MASKS, masks=(0x3FF00000, 0xFFC00, 0x3FF)
            ),
            "holds a JPEG or a PNG": Bmp(values=values, bits=24, compression=4),
            "2 bits a pixel in compression 0": Bmp(values=values, bits=2, colors=many[:4]),
            "300 colours": Bmp(values=values, bits=8, colors=many),
        }.items()
    ]  # fmt: skip
    checked(cases, tmp_path, 6, evaluation=False)


# -- Netpbm --------------------------------------------------------------------------------------


def netpbm(kind: str, values: Any, top: int, *, comment: bool = False) -> bytes:
    height, width = values.shape[:2]
    head = f"P{kind}\n" + "# a comment\n" * comment + f"{width} {height}\n"
    head += "" if kind in "14" else f"{top}\n"
    if kind in "123":
        return head.encode() + " ".join(map(str, values.ravel().tolist())).encode() + b"\n"
    if kind == "4":
        return head.encode() + np.packbits(values[..., 0].astype(np.uint8), axis=1).tobytes()
    samples: bytes = values.astype(">u2" if top > 255 else "u1").tobytes()
    return head.encode() + samples


def test_netpbm(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    cases = []
    tops = (1, 2, 3, 5, 15, 100, 200, 254, 255, 256, 1000, 1023, 4095, 32767, 40000, 65534, 65535)
    for (kind, n), top, comment in product(
        (("2", 1), ("3", 3), ("5", 1), ("6", 3)), tops, (False, True)
    ):
        values = rng.integers(0, top + 1, (9, 13, n))
        values[0, :2] = [[0], [top]]
        content = netpbm(kind, values, top, comment=comment)
        pixels = in_srgb(values, None, top)
        cases.append(Case(name=f"P{kind}, {top=}, {comment=}", content=content, pixels=pixels))
    values = rng.integers(0, 2, (9, 13, 1))
    for kind in "14":
        content = netpbm(kind, values, 1)
        cases.append(Case(name=f"P{kind}", content=content, pixels=in_srgb(1 - values, None, 1)))
    checked(cases, tmp_path, 138, evaluation=False)


def test_netpbm_that_is_refused_is_refused_by_name(tmp_path: Path) -> None:
    bits, grey, rgb = np.zeros((2, 9, 1), int), np.zeros((2, 9, 1), int), np.zeros((2, 9, 3), int)
    pam = "P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nTUPLTYPE GRAYSCALE\nENDHDR\n\0"
    contents = {
        "PAM": pam.encode(),
        "floating-point": b"Pf\n1 1\n-1.0\n\0\0\0\0",
        "more than one image": netpbm("5", grey, 255) * 2,
        "more than one": netpbm("6", rgb, 1000) * 3,
        "of more than one": netpbm("4", bits, 1) * 2,
    }
    cases = [
        Case(name=reason, content=content, refusal=reason) for reason, content in contents.items()
    ]
    checked(cases, tmp_path, 5, evaluation=False)


def test_a_large_square_is_as_libvips_has_it(tmp_path: Path) -> None:
    """Check hard edges, where decoders of lossy codecs differ most."""
    cases = [
        Case(name=kind, content=saved(Image.fromarray(blocks(3)), kind, quality=90), tolerance=3)
        for kind in ("JPEG", "WEBP")
    ]
    checked(cases, tmp_path, 2)
