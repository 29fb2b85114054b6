"""Tests that every supported TIFF layout is decoded as its samples say, and as by libvips."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from tests.formats.matrix import (
    Case,
    Floats,
    blocks,
    by_vips,
    in_srgb,
    mismatches,
    of_inks,
    ramps,
    report,
    slopes,
    straight,
)
from tests.formats.tiff_files import (
    BLACK_IS_ZERO,
    CMYK,
    DEFLATE,
    ENCODERS,
    LAB,
    LZMA,
    LZW,
    NONE,
    PACKBITS,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    ZSTD,
    Tiff,
    pages,
    with_page,
)

# Photometric interpretation, number of colour samples, and the kind of each extra sample.
KINDS = [
    *product((WHITE_IS_ZERO, BLACK_IS_ZERO), (1,), ((), (0,), (1,), (2,), None, (2, 0), (0, 1))),
    *product((RGB,), (3,), ((), (0,), (1,), (2,), None, (2, 0), (0, 2))),
    *product((PALETTE,), (1,), ((), (0,), (2,))),
    (CMYK, 4, ()),
]
STEP = 37  # every 37th layout is tried; no number of choices is a multiple of 37


def picture(tiff: Tiff) -> Floats:
    """Return the picture of a page by TIFF 6.0, (h, w, 4) levels of 0 to 255, not rounded.

    A single extra sample of unspecified kind is alpha, as in all readers.
    """
    full = (1 << tiff.bits) - 1
    n = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, PALETTE: 1, RGB: 3, CMYK: 4}[tiff.photometric]
    colors, extra = tiff.values[..., :n].astype(float), tiff.values[..., n:]
    kinds = (0,) * extra.shape[2] if tiff.extra is None else tiff.extra
    at = 0 if kinds == (0,) else next((i for i, kind in enumerate(kinds) if kind), None)
    alphas = None if at is None else extra[..., at]
    if tiff.palette is not None:
        full = 255 if tiff.palette.max() < 256 else 65535
        colors = tiff.palette[tiff.values[..., 0]]
        alphas = None if alphas is None else alphas / ((1 << tiff.bits) - 1) * full
    if tiff.photometric == CMYK:
        colors = of_inks(colors, full)
    if tiff.photometric == WHITE_IS_ZERO:
        colors = full - colors
    if alphas is not None and at is not None and kinds[at] == 1:
        colors = straight(colors, alphas, full)
    return in_srgb(colors, alphas, full)


def samples(photometric: int, n: int, extra: tuple[int, ...] | None, bits: int) -> Any:
    """Return ramps, (h, w, samples) uint16, with colours multiplied by a premultiplied alpha."""
    values = ramps(n + (1 if extra is None else len(extra)), bits)
    if not extra or 1 not in extra:
        return values
    full, colors = (1 << bits) - 1, values[..., :n].astype(float)
    alphas = values[..., n + extra.index(1), None]
    light = full - colors if photometric == WHITE_IS_ZERO else colors
    light = np.rint(light * alphas / full)
    values[..., :n] = full - light if photometric == WHITE_IS_ZERO else light
    return values


def unjudged(tiff: Tiff) -> str:
    n = tiff.values.shape[2]
    if tiff.compression in (LZMA, ZSTD):
        return "not built into libvips"
    if tiff.bits not in (8, 16) and not (n == 1 and tiff.bits in (1, 2, 4)):
        return "bits that libvips does not read"
    if tiff.planar and (n == 2 or tiff.tile):
        return "planes that libvips does not read"
    if (n > 1 and tiff.photometric == PALETTE) or (tiff.extra and len(tiff.extra) > 1):
        return "more bands than a picture has to libvips"
    return ""


def layouts() -> Iterator[Tiff]:
    rng = np.random.default_rng(1)
    for (photometric, n, extra), bits in product(KINDS, (1, 2, 4, 8, 12, 16)):
        if photometric == PALETTE and bits > 8:
            continue
        base = Tiff(
            values=samples(photometric, n, extra, bits),
            bits=bits,
            photometric=photometric,
            extra=extra,
            palette=rng.integers(0, 65536, (1 << bits, 3)) if photometric == PALETTE else None,
        )
        n_all = base.values.shape[2]
        for planar, compression, predictor, order, tile, fill_order, big in product(
            (False, True), ENCODERS, (False, True), "<>", (0, 16), (1, 2), (False, True)
        ):
            if (
                (planar and n_all == 1)
                or (predictor and (bits not in (8, 16) or compression in (NONE, PACKBITS)))
                or (fill_order == 2 and compression not in (NONE, LZW))
            ):
                continue
            yield replace(
                base,
                planar=planar,
                compression=compression,
                predictor=predictor,
                order=order,
                tile=tile,
                fill_order=fill_order,
                big=big,
            )


def name_of(tiff: Tiff) -> str:
    n = tiff.values.shape[2]
    said = [f"photometric {tiff.photometric}, {n} x {tiff.bits} bits, extra {tiff.extra}"]
    said += [f"compression {tiff.compression}"]
    said += [word for word in ("planar", "predictor", "tile", "big") if getattr(tiff, word)]
    return f"{', '.join(said)}, order {tiff.order}, fill order {tiff.fill_order}"


def test_layouts(tmp_path: Path) -> None:
    cases = [
        Case(
            name=name_of(tiff),
            content=tiff.encode(),
            pixels=picture(tiff),
            unjudged=unjudged(tiff),
        )
        for number, tiff in enumerate(layouts())
        if number % STEP == 0
    ]
    wrong = mismatches(cases, tmp_path, by_vips)
    assert not wrong, report(wrong, len(cases))
    evaluation = sum(not case.unjudged for case in cases)
    assert len(cases) > 600
    assert evaluation > 100


# -- palettes, pages and turns -----------------------------------------------------------------


def test_palettes_of_small_entries(tmp_path: Path) -> None:
    """Check palette entries of 0 to 255 in 16-bit words, as some programs write them."""
    rng = np.random.default_rng(2)
    cases = []
    for bits, tile, compression in product((1, 2, 4, 8), (0, 16), (NONE, LZW, DEFLATE)):
        palette = rng.integers(0, 256, (1 << bits, 3))
        tiff = Tiff(
            values=ramps(1, bits), bits=bits, photometric=PALETTE, palette=palette,
            compression=compression, tile=tile,
        )  # fmt: skip
        cases.append(
            Case(
                name=name_of(tiff),
                content=tiff.encode(),
                pixels=in_srgb(palette[tiff.values[..., 0]], None, 255),
                unjudged="libvips takes them for 16 bits",
            )
        )
    wrong = mismatches(cases, tmp_path)
    assert not wrong, report(wrong, len(cases))
    assert len(cases) == 24


def test_orientations(tmp_path: Path) -> None:
    kinds = [
        Tiff(values=blocks(3, (20, 37), 5), photometric=RGB, planar=planar, compression=compression)
        for planar, compression in product((False, True), (NONE, LZW))
    ]
    kinds += [
        Tiff(values=ramps(1, bits), bits=bits, photometric=photometric)
        for bits, photometric in product((1, 8, 16), (WHITE_IS_ZERO, BLACK_IS_ZERO))
    ]
    cases = [
        Case(
            name=f"{name_of(kind)}, turn {turn}",
            content=replace(kind, tags=((274, 3, (turn,)),)).encode(),
        )
        for kind, turn in product(kinds, range(1, 9))
    ]
    wrong = mismatches(cases, tmp_path, by_vips)
    assert not wrong, report(wrong, len(cases))
    assert len(cases) == 80


def test_smaller_copies_are_no_pages(tmp_path: Path) -> None:
    first = Tiff(values=blocks(3), photometric=RGB)
    whole = in_srgb(first.values, None, 255)
    cases = [
        Case(name="reduced", content=with_page(first, 1), pixels=whole),
        Case(name="mask", content=with_page(first, 4), pixels=whole),
        Case(name="reduced, big", content=with_page(replace(first, big=True), 1), pixels=whole),
        Case(name="page", content=with_page(first, 2), refusal="a TIFF of 2 pages"),
        Case(name="three", content=pages(first, first, first), refusal="a TIFF of 3 pages"),
        Case(
            name="three, big, big end first",
            content=pages(*[replace(first, big=True, order=">")] * 3),
            refusal="a TIFF of 3 pages",
        ),
    ]
    assert mismatches(cases, tmp_path, by_vips) == []


# -- compressions that lose something, and what others write -----------------------------------


def by_tifffile(values: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, metadata=None, **options)
    return stream.getvalue()


def by_pillow(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "TIFF", **options)
    return stream.getvalue()


def test_jpeg_and_webp_within(tmp_path: Path) -> None:
    rgb, grey, rgba = slopes(3), slopes(1)[..., 0], slopes(4)
    cases = []
    for tile, subsampling in product((None, (32, 32)), ((1, 1), (2, 1), (2, 2))):
        content = by_tifffile(
            rgb, photometric="rgb", compression="jpeg", tile=tile, subsampling=subsampling
        )
        cases.append(Case(name=f"RGB as JPEG {subsampling} {tile}", content=content, tolerance=4))
        content = by_tifffile(
            rgb, photometric="ycbcr", compression="jpeg", tile=tile, subsampling=subsampling
        )
        cases.append(Case(name=f"YCbCr as JPEG {subsampling} {tile}", content=content, tolerance=4))
    for photometric, tile in product(("minisblack", "miniswhite"), (None, (32, 32))):
        content = by_tifffile(grey, photometric=photometric, compression="jpeg", tile=tile)
        cases.append(Case(name=f"{photometric} as JPEG {tile}", content=content, tolerance=2))
    planes = np.moveaxis(rgb, -1, 0)
    content = by_tifffile(planes, photometric="rgb", planarconfig="separate", compression="jpeg")
    cases.append(Case(name="planes as JPEG", content=content, tolerance=2))
    for mode in ("RGB", "YCbCr", "L"):
        content = by_pillow(Image.fromarray(rgb).convert(mode), compression="jpeg")
        cases.append(Case(name=f"{mode} by Pillow", content=content, tolerance=4))
    inks = by_pillow(Image.frombytes("CMYK", (64, 48), rgba.tobytes()), compression="jpeg")
    cases.append(Case(name="CMYK as JPEG", content=inks, tolerance=4))
    for values in (rgb, rgba):
        extra = ("unassalpha",) if values is rgba else None
        for lossless in (True, False):
            content = by_tifffile(
                values, photometric="rgb", compression="webp", extrasamples=extra,
                compressionargs={"lossless": lossless},
            )  # fmt: skip
            cases.append(
                Case(
                    name=f"{values.shape[2]} as WebP, lossless {lossless}",
                    content=content,
                    pixels=in_srgb(values[..., :3], values[..., 3] if extra else None, 255)
                    if lossless
                    else None,
                    tolerance=4,
                )
            )
    wrong = mismatches(cases, tmp_path, by_vips)
    assert not wrong, report(wrong, len(cases))
    assert len(cases) == 25


def test_other_codecs_within(tmp_path: Path) -> None:
    """Check lossless codecs that tifffile alone reads of all decoders at hand."""
    rgb = blocks(3)
    wide = rgb.astype(np.uint16) * 257
    cases = []
    depths: tuple[Any, ...] = (rgb, wide)
    for codec, values in product(("jpeg2000", "jpegxl", "lerc", "png"), depths):
        content = by_tifffile(values, photometric="rgb", compression=codec)
        cases.append(
            Case(name=f"{codec} {values.dtype}", content=content, pixels=in_srgb(rgb, None, 255))
        )
    wrong = mismatches(cases, tmp_path)
    assert not wrong, report(wrong, len(cases))


def test_fax(tmp_path: Path) -> None:
    black_and_white = blocks(1, side=5)[..., 0] > 128
    pixels = in_srgb(black_and_white[..., None] * 255.0, None, 255)
    cases = [
        Case(
            name=f"{codec}, photometric {photometric}, fill order {order}",
            content=by_pillow(
                Image.fromarray(black_and_white),
                compression=codec,
                tiffinfo={262: photometric, 266: order},
            ),
            pixels=pixels,
            tolerance=0,
        )
        for codec, photometric, order in product(
            ("group3", "group4", "tiff_ccitt"), (WHITE_IS_ZERO, BLACK_IS_ZERO), (1, 2)
        )
    ]
    wrong = mismatches(cases, tmp_path, by_vips)
    assert not wrong, report(wrong, len(cases))


def ycbcr(values: Any) -> Floats:
    """Return YCbCr of 0 to 255 as RGB, (h, w, 3) float64, not rounded. ITU-T T.871."""
    y, cb, cr = (values[..., i].astype(float) for i in range(3))
    cb, cr = cb - 128, cr - 128
    rgb = [y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb]
    found: Floats = np.clip(np.dstack(rgb), 0, 255)
    return found


def test_ycbcr(tmp_path: Path) -> None:
    values = slopes(3)
    y, colors = values[..., 0], values[..., 1:].copy()
    cases = []
    for across, down in ((1, 1), (2, 1), (2, 2), (4, 2)):
        few = colors[::down, ::across]
        units = [
            y[top : top + down, left : left + across].tobytes()
            + few[top // down, left // across].tobytes()
            for top, left in product(range(0, 48, down), range(0, 64, across))
        ]
        whole = few.repeat(down, axis=0).repeat(across, axis=1)
        pixels = in_srgb(ycbcr(np.dstack([y, whole])), None, 255)
        for compression in (NONE, LZW, DEFLATE):
            data = ENCODERS[compression](b"".join(units))
            tiff = Tiff(
                values=values, photometric=YCBCR, compression=compression, rows=48,
                segments=(bytes(data),), tags=((530, 3, (across, down)),),
            )  # fmt: skip
            refused = compression == NONE and (across, down) != (1, 1)
            cases.append(
                Case(
                    name=f"{across} x {down}, compression {compression}",
                    content=tiff.encode(),
                    pixels=None if refused else pixels,
                    refusal="a TIFF of YCbCr" if refused else "",
                    tolerance=2,
                    unjudged="not turned into RGB by libvips" if across == down == 1 else "",
                )
            )
    wrong = mismatches(cases, tmp_path, by_vips)
    assert not wrong, report(wrong, len(cases))


class Unsaid(Tiff):
    """A TIFF page without the tag of its photometric interpretation."""

    def all_tags(self) -> dict[int, tuple[int, tuple[int, ...]]]:
        tags = super().all_tags()
        del tags[262]
        return tags


def test_zero_is_black_where_a_file_does_not_say(tmp_path: Path) -> None:
    cases = [
        Case(
            name=f"{n} x {bits} bits",
            content=Unsaid(values=ramps(n, bits), bits=bits).encode(),
            pixels=in_srgb(ramps(n, bits), None, (1 << bits) - 1),
        )
        for n, bits in product((1, 3), (8, 16))
    ]
    assert mismatches(cases, tmp_path) == []


def test_odd_bits(tmp_path: Path) -> None:
    cases = [
        Case(
            name=f"{n} x {bits} bits",
            content=Tiff(
                values=ramps(n, bits), bits=bits, photometric=RGB if n == 3 else BLACK_IS_ZERO
            ).encode(),
            pixels=in_srgb(ramps(n, bits), None, (1 << bits) - 1),
        )
        for n, bits in product((1, 3), (3, 5, 6, 7, 9, 10, 11, 13, 14, 15))
    ]
    wrong = mismatches(cases, tmp_path)
    assert not wrong, report(wrong, len(cases))


# -- refusals ------------------------------------------------------------------------------------


def test_what_is_refused_is_refused_by_name(tmp_path: Path) -> None:
    grey, rgb, inks = ramps(1, 8), ramps(3, 8), ramps(4, 8)
    five, six = ramps(5, 8), ramps(6, 8)
    wide = ramps(1, 16)
    tiffs = {
        "signed": Tiff(values=grey, sample_format=2),
        "signed, of 16 bits": Tiff(values=wide, bits=16, sample_format=2),
        "floating-point": Tiff(values=grey.astype(np.uint32), bits=32, sample_format=3),
        "complex": Tiff(values=grey.astype(np.uint64), bits=64, sample_format=6),
        "32 bits a sample": Tiff(values=grey.astype(np.uint32), bits=32),
        "24 bits a sample": Tiff(values=grey, bits=24),
        "64 bits a sample": Tiff(values=grey.astype(np.uint64), bits=64),
        "2 bands": Tiff(values=ramps(2, 8), photometric=RGB),
        "5 bands": Tiff(values=five, extra=(0, 0, 0, 0)),
        "6 bands": Tiff(values=six, photometric=RGB, extra=(0, 0, 0)),
        "3 bands": Tiff(values=rgb, photometric=CMYK),
        "1 band that": Tiff(values=grey, photometric=LAB),
        "an alpha channel": Tiff(values=five, photometric=CMYK, extra=(2,)),
        "another band": Tiff(values=five, photometric=CMYK, extra=(0,)),
        "inks that are not": Tiff(values=inks, photometric=CMYK, tags=((332, 3, (2,)),)),
        "interpretation 4": Tiff(values=grey, photometric=4),
        "interpretation 9": Tiff(values=rgb, photometric=9),
        "interpretation 32803": Tiff(values=wide, bits=16, photometric=32803),
        "CIELab of 16 bits": Tiff(values=ramps(3, 16), bits=16, photometric=LAB),
        "CIELab of 8 bits and planar": Tiff(values=rgb, photometric=LAB, planar=True),
        "and an extra band": Tiff(values=inks, photometric=LAB, extra=(2,)),
        "YCbCr of 16 bits": Tiff(values=ramps(3, 16), bits=16, photometric=YCBCR),
        "YCbCr of 8 bits in this": Tiff(values=rgb, photometric=YCBCR, planar=True),
        "differ in bits": Tiff(values=rgb, photometric=RGB, tags=((258, 3, (8, 8, 4)),)),
        "compressed by": Tiff(values=grey, segments=(b"\0",), compression=32766),
        "(DNG)": Tiff(values=grey, tags=((50706, 1, (1, 4, 0, 0)),)),
    }  # fmt: skip
    cases = [
        Case(name=reason, content=tiff.encode(), refusal=reason.split(", of")[0])
        for reason, tiff in tiffs.items()
    ]
    wrong = mismatches(cases, tmp_path)
    assert not wrong, report(wrong, len(cases))
    assert len(cases) == 26


def test_all_encoders_are_undone_by_another_library() -> None:
    """Check that the decoders of imagecodecs undo the compressions that the generator uses."""
    data = bytes(range(256)) * 3 + bytes(100)
    for compression, name in ((LZW, "lzw"), (PACKBITS, "packbits"), (LZMA, "lzma"), (ZSTD, "zstd")):
        decoder = getattr(imagecodecs, f"{name}_decode")
        assert bytes(decoder(ENCODERS[compression](data))) == data
