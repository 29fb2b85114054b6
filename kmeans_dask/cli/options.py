"""Options and arguments of the command line, defined once for all commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kmeans_dask.errors import UsageError
from kmeans_dask.files import parse_location
from kmeans_dask.settings import MAX_ITER, MAX_LOSSY, MAX_WHITE, PRIVATE_TOL, TOL

if TYPE_CHECKING:
    from kmeans_dask.files import Location as Location
else:  # Typer takes no union: any class will do, as `parser` reads the value
    from pathlib import Path as Location

# Names of the panels in the help text.
READING, PALETTE, WRITING, RUNNING = "Input", "Palette", "Output", "Where and how it runs"

Inputs = Annotated[
    list[Location],
    typer.Argument(
        parser=parse_location, metavar="INPUT...", help="Images, or folders to search for images."
    ),
]
StorePath = Annotated[
    Location,
    typer.Argument(parser=parse_location, metavar="STORE", help="Folder or URL of the store."),
]
Output = Annotated[
    Location,
    typer.Argument(parser=parse_location, metavar="OUTPUT", help="Folder to write to."),
]
Colors = Annotated[
    int,
    typer.Option(
        "--colors",
        "-k",
        help="Number of palette entries, 2 to 256.",
        rich_help_panel=PALETTE,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        help="Seed of random choices; the same seed and images give the same result.",
        rich_help_panel=PALETTE,
    ),
]
Init = Annotated[
    str,
    typer.Option(
        help="How to choose the first centroids: k-means++, or random (pixels).",
        rich_help_panel=PALETTE,
    ),
]
NInit = Annotated[
    int | None,
    typer.Option(
        "--n-init",
        help="Number of starts of plain k-means, of which the best is kept.",
        show_default="a search for a good start, by breathing k-means",
        rich_help_panel=PALETTE,
    ),
]
MaxIter = Annotated[
    int | None,
    typer.Option(
        help="Most iterations from each start.",
        show_default=f"{MAX_ITER}, or no limit with --tol 0",
        rich_help_panel=PALETTE,
    ),
]
Tol = Annotated[
    float | None,
    typer.Option(
        help="Stop when the squared shift of the centroids is at most this fraction of the "
        "colours' variance; 0 to stop when no centroid moves.",
        show_default=f"{TOL}, or {PRIVATE_TOL} with a palette for each image or folder",
        rich_help_panel=PALETTE,
    ),
]
Scope = Annotated[
    str,
    typer.Option(
        "--palette",
        help="One palette for all images (shared), for each folder, for each image, or auto: "
        "shared, and one for each image that would miss --min-psnr.",
        rich_help_panel=PALETTE,
    ),
]
ColorSpace = Annotated[
    str,
    typer.Option(
        "--color-space",
        help="Space in which distances of colours are measured: rgb, or oklab (as they look).",
        rich_help_panel=PALETTE,
    ),
]
Weight = Annotated[
    str,
    typer.Option(
        help="What counts the same in the fit: all pixels, or all images.", rich_help_panel=PALETTE
    ),
]
FixedColors = Annotated[
    str,
    typer.Option(
        "--fixed-colors",
        metavar="HEX,...",
        help='Colours that the palette always has, such as "#ff0000,#fff".',
        rich_help_panel=PALETTE,
    ),
]
MinPsnr = Annotated[
    float | None,
    typer.Option(
        "--min-psnr",
        metavar="DB",
        help="Use the fewest colours, at most --colors, that reach this quality; images that "
        "do not reach it are kept as they are.",
        rich_help_panel=PALETTE,
    ),
]
MaxError = Annotated[
    float | None,
    typer.Option(
        "--max-error",
        metavar="LEVELS",
        help="Largest error of a pixel, 0 to 255 (root mean square over its channels): colours "
        "that would be farther off get entries of their own. An image that misses it is kept.",
        rich_help_panel=PALETTE,
    ),
]
MinSsimulacra2 = Annotated[
    float | None,
    typer.Option(
        "--min-ssimulacra2",
        metavar="SCORE",
        help="SSIMULACRA2 score that each image reaches with the fewest bytes, by lossy indices: "
        "90 looks the same, 70 is high quality. An image that does not reach it is kept.",
        rich_help_panel=PALETTE,
    ),
]
TotalSize = Annotated[
    str | None,
    typer.Option(
        "--total-size",
        metavar="SIZE",
        help="Bytes that all images together may take, such as 20MB or 0.3B/pixel: --lossy is "
        "chosen so that they take no more, and hardly less.",
        rich_help_panel=WRITING,
    ),
]
Format = Annotated[
    str,
    typer.Option(
        "--format", help="Format of images: png, webp (lossless) or gif.", rich_help_panel=WRITING
    ),
]
Effort = Annotated[
    int,
    typer.Option(
        help="Effort to make files smaller, from 0 (fastest) to 9 (smallest).",
        rich_help_panel=WRITING,
    ),
]
Dither = Annotated[
    float,
    typer.Option(
        help="Strength of Floyd-Steinberg dithering, from 0 (none) to 1 (full, large errors "
        "damped).",
        rich_help_panel=WRITING,
    ),
]
LossyText = Annotated[
    str,
    typer.Option(
        "--lossy",
        metavar="LAMBDA|auto",
        help="Fewer bytes for more error: the squared error (levels of 0 to 255, summed over red, "
        "green and blue) that a bit less is worth. 1 to 4 is hard to see; 0 is off; auto takes "
        "what --min-psnr leaves.",
        rich_help_panel=WRITING,
    ),
]
KeepMetadata = Annotated[
    bool,
    typer.Option(
        "--keep-metadata",
        help="Keep EXIF, pixel density and text of images.",
        rich_help_panel=WRITING,
    ),
]
Always = Annotated[
    bool,
    typer.Option(
        "--always",
        help="Write the compressed image even where the input file is smaller.",
        rich_help_panel=WRITING,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Write into OUTPUT even if it is not empty; other files in it stay.",
        rich_help_panel=WRITING,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Resume an earlier run that was stopped or killed, or begin where there is none.",
        rich_help_panel=WRITING,
    ),
]
Checksum = Annotated[
    bool,
    typer.Option(
        "--checksum",
        help="Find out whether images have changed by a checksum, not by size and time.",
        rich_help_panel=RUNNING,
    ),
]
OverwriteFile = Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists.")]
PaletteName = Annotated[
    str | None,
    typer.Option(
        "--palette-name",
        help="Name of the palette in the store.",
        show_default="the one fitted last",
    ),
]
ImageTimeout = Annotated[
    float,
    typer.Option(
        "--image-timeout",
        min=0.1,
        help="Time limit in seconds to decode an image; one that takes longer is quarantined.",
        rich_help_panel=RUNNING,
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="GLOB",
        help="Take only those files in folders that match this pattern, such as *.png or "
        "scans/page?.tif. Can be repeated.",
        rich_help_panel=READING,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="GLOB",
        help="Skip files and folders that match this pattern. Can be repeated.",
        rich_help_panel=READING,
    ),
]
White = Annotated[
    str | None,
    typer.Option(
        "--white",
        metavar="N|auto",
        help="The 16-bit sample that becomes white; auto for the one that the file names, or "
        "else the largest of as many bits as are used, such as 4095.",
        show_default="65535",
        rich_help_panel=READING,
    ),
]
PartitionPixels = Annotated[
    int,
    typer.Option(
        min=1, help="Number of pixels that one task decodes and encodes.", rich_help_panel=RUNNING
    ),
]
MaxPixels = Annotated[
    int,
    typer.Option(min=1, help="Refuse images with more pixels than this.", rich_help_panel=READING),
]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")]


def refuse_given(context: typer.Context, option: str, names: tuple[str, ...]) -> None:
    """Raise UsageError where one of the parameters `names` was given beside `option`."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source and source.name == "COMMANDLINE":
            raise UsageError(f"{option} and {parameter.opts[0]} exclude each other: leave one out")


def parse_fixed_colors(hexes: str) -> tuple[tuple[int, int, int], ...]:
    """Return the colours of `--fixed-colors`, 0 to 255. Raises UsageError."""
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


def parse_lossy(text: str) -> float | Literal["auto"]:
    """Return the value of `--lossy`: a number, or "auto". Raises UsageError."""
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"--lossy is {text!r}: choose 0 (none) to {MAX_LOSSY:,}, or auto"
        ) from None


def numbers_of(text: str) -> list[int]:
    """Return the numbers of a list with commas. Raises UsageError."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise UsageError(f"--colors is {text!r}: write numbers with commas, as 4,16,64") from None


def weights_of(text: str) -> list[float | Literal["auto"]]:
    """Return the weights of bits of a list with commas, "auto" among them. Raises UsageError."""
    try:
        return ["auto" if weight == "auto" else float(weight) for weight in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--lossy is {text!r}: write weights of 0 to {MAX_LOSSY:,} with commas, as 0,1,2,4"
        ) from None
