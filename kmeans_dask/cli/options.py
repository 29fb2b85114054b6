"""Options and arguments of the command line, defined once for all commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kmeans_dask.errors import UsageError
from kmeans_dask.files import parse_location
from kmeans_dask.settings import MAX_ITER, MAX_WHITE, PRIVATE_TOL, TOL

if TYPE_CHECKING:
    from kmeans_dask.files import Location as Location
else:  # typer takes no union, but what its parser returns
    from pathlib import Path as Location

# Names of the panels in the help text.
READING, PALETTE, WRITING, RUNNING = "Input", "Palette", "Output", "Where and how it runs"

Inputs = Annotated[
    list[Location],
    typer.Argument(
        parser=parse_location, metavar="INPUT...", help="Images, or folders searched for images."
    ),
]
StorePath = Annotated[
    Location, typer.Argument(parser=parse_location, metavar="STORE", help="The store, a folder.")
]
Output = Annotated[
    Location,
    typer.Argument(parser=parse_location, metavar="OUTPUT", help="The folder to write to."),
]
Colors = Annotated[
    int,
    typer.Option(
        "--colors",
        "-k",
        help="Palette entries, 2 to 256.",
        rich_help_panel=PALETTE,
    ),
]
Seed = Annotated[
    int, typer.Option(help="Same seed, same images: same result.", rich_help_panel=PALETTE)
]
Init = Annotated[
    str,
    typer.Option(help="Where to start: k-means++, or random (pixels).", rich_help_panel=PALETTE),
]
NInit = Annotated[
    int | None,
    typer.Option(
        "--n-init",
        help="Starts, of which the best is kept.",
        show_default="32 by --colors, and at least 1",
        rich_help_panel=PALETTE,
    ),
]
MaxIter = Annotated[
    int | None,
    typer.Option(
        help="Iterations of a start at most.",
        show_default=f"{MAX_ITER}; with --tol 0 any number",
        rich_help_panel=PALETTE,
    ),
]
Tol = Annotated[
    float | None,
    typer.Option(
        help="Stop when the centroids' squared shift is at most this part of the colours' "
        "variance; 0: at the fixed point.",
        show_default=f"{TOL}, or {PRIVATE_TOL} for a palette for each image or folder",
        rich_help_panel=PALETTE,
    ),
]
Scope = Annotated[
    str,
    typer.Option(
        "--palette",
        help="One for all (shared), for each folder, for each image, or auto: for images of "
        "which the shared one is not good enough.",
        rich_help_panel=PALETTE,
    ),
]
ColorSpace = Annotated[
    str,
    typer.Option(
        "--color-space",
        help="In which colours are near: rgb, or oklab (as they look).",
        rich_help_panel=PALETTE,
    ),
]
Weight = Annotated[
    str,
    typer.Option(help="What counts the same: all pixels, or all images.", rich_help_panel=PALETTE),
]
FixedColors = Annotated[
    str,
    typer.Option(
        "--fixed-colors",
        metavar="HEX,...",
        help='Colours that the palette has in any case: "#ff0000,#fff".',
        rich_help_panel=PALETTE,
    ),
]
MinPsnr = Annotated[
    float | None,
    typer.Option(
        "--min-psnr",
        metavar="DB",
        help="Take the fewest colours, of --colors, that reach this quality; keep images that do "
        "not as they are.",
        rich_help_panel=PALETTE,
    ),
]
Format = Annotated[
    str,
    typer.Option("--format", help="png, webp (lossless) or gif.", rich_help_panel=WRITING),
]
Effort = Annotated[int, typer.Option(help="0 to 9: time for fewer bytes.", rich_help_panel=WRITING)]
Dither = Annotated[
    float,
    typer.Option(
        help="Floyd-Steinberg, 0 (none) to 1: how much of an error neighbours make up for.",
        rich_help_panel=WRITING,
    ),
]
KeepMetadata = Annotated[
    bool,
    typer.Option(
        "--keep-metadata",
        help="Keep EXIF, pixel density and text.",
        rich_help_panel=WRITING,
    ),
]
Always = Annotated[
    bool,
    typer.Option(
        "--always",
        help="Write an image even where the input file is smaller.",
        rich_help_panel=WRITING,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Write into OUTPUT though it is not empty; other files in it stay.",
        rich_help_panel=WRITING,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on where an earlier run was stopped or killed, or begin where there is none.",
        rich_help_panel=WRITING,
    ),
]
Checksum = Annotated[
    bool,
    typer.Option(
        "--checksum",
        help="Tell by their bytes whether images have changed, not by size and time.",
        rich_help_panel=RUNNING,
    ),
]
OverwriteFile = Annotated[
    bool, typer.Option("--overwrite", help="Write a file though it is there already.")
]
PaletteName = Annotated[
    str | None,
    typer.Option(
        "--palette-name", help="Which palette of a store.", show_default="the one fitted last"
    ),
]
ImageTimeout = Annotated[
    float,
    typer.Option(
        "--image-timeout",
        min=0.1,
        help="Seconds that one image may take to decode; one that takes longer is quarantined.",
        rich_help_panel=RUNNING,
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="GLOB",
        help="Take only files in folders that match this: *.png, or scans/*.tif. Can be repeated.",
        rich_help_panel=READING,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="GLOB",
        help="Pass over files, and folders, that match this. Can be repeated.",
        rich_help_panel=READING,
    ),
]
White = Annotated[
    str | None,
    typer.Option(
        "--white",
        metavar="N|auto",
        help="The 16-bit sample that becomes white; auto: what the file says, or the largest of "
        "the bits that are used, as 4095.",
        show_default="65535",
        rich_help_panel=READING,
    ),
]
PartitionPixels = Annotated[
    int,
    typer.Option(min=1, help="Pixels that one task decodes and encodes.", rich_help_panel=RUNNING),
]
MaxPixels = Annotated[
    int,
    typer.Option(min=1, help="Refuse images of more pixels than this.", rich_help_panel=READING),
]
Json = Annotated[bool, typer.Option("--json", help="The summary as one JSON object on stdout.")]


def refuse_given(context: typer.Context, option: str, names: tuple[str, ...]) -> None:
    """Raise UsageError where one of the parameters `names` was given beside `option`."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source and source.name == "COMMANDLINE":
            raise UsageError(f"{option} and {parameter.opts[0]} exclude each other: leave one out")


def parse_fixed_colors(hexes: str) -> tuple[tuple[int, int, int], ...]:
    """The colours of --fixed-colors."""
    if not hexes:
        return ()
    from kmeans_dask.images.palette_files import parse_hexes

    try:
        entries = parse_hexes(hexes)
    except UsageError as error:
        raise UsageError(f"--fixed-colors: {error}") from error
    if (entries[:, 3] < 255).any():
        raise UsageError("--fixed-colors takes opaque colours: write them as #rrggbb")
    return tuple((r, g, b) for r, g, b, _ in entries.tolist())


def parse_white(text: str | None) -> int | Literal["auto"] | None:
    """Return the value of `--white`: a 16-bit sample, "auto" or None. Raises UsageError."""
    if text is None or text == "auto":
        return text  # type: ignore[return-value]
    if not text.isdecimal() or not 0 < int(text) <= MAX_WHITE:
        raise UsageError(f"--white is {text!r}: choose 1 to {MAX_WHITE}, or auto")
    return int(text)


def numbers_of(text: str) -> list[int]:
    """The numbers of a list with commas. Raises UsageError."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise UsageError(f"--colors is {text!r}: write numbers with commas, as 4,16,64") from None


def named(path: Location) -> Location:
    """`path`; where that has no name, as `..` has none, the path that it leads to."""
    return path if path.name.strip(".") else path.resolve()
