"""Commands that show something before or after a job; one of them can repair a store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kmeans_dask.cli.app import app
from kmeans_dask.cli.cluster_options import placed
from kmeans_dask.cli.options import (
    WRITING,
    Always,
    Colors,
    ColorSpace,
    Dither,
    Effort,
    Exclude,
    Format,
    Include,
    Inputs,
    Json,
    Location,
    LossyText,
    MaxError,
    MaxPixels,
    MinPsnr,
    OverwriteFile,
    PaletteName,
    Scope,
    Seed,
    StorePath,
    Weight,
    White,
    numbers_of,
    parse_lossy,
    parse_white,
    refuse_given,
    weights_of,
)
from kmeans_dask.cli.session import Session, show
from kmeans_dask.errors import UsageError
from kmeans_dask.files import parse_location
from kmeans_dask.settings import (
    MAX_PIXELS,
    SCOPES,
    EncodeSettings,
    FitSettings,
)

# Everything else is imported where it is used: --help and errors need no numba and no Dask.

_FIT, _ENCODE = FitSettings(), EncodeSettings()


@app.command(
    epilog="Example: kmeans-dask sweep photos/ -k 16,64,256 --lossy 0,1,2,4 --report a.html"
)
@placed
def sweep(
    session: Session,
    inputs: Inputs,
    colors: Annotated[
        str, typer.Option("--colors", "-k", metavar="K,...", help="Numbers of colours to try.")
    ] = "2,4,8,16,32,64,128,256",
    color_space: ColorSpace = _FIT.space,
    weight: Weight = _FIT.weight,
    seed: Seed = _FIT.seed,
    format_: Format = _ENCODE.format,
    effort: Effort = _ENCODE.effort,
    dither: Dither = _ENCODE.dither,
    lossy: Annotated[
        str,
        typer.Option(
            "--lossy",
            metavar="LAMBDA,...",
            help="Weights to try with each number of colours: the squared error that a bit less is "
            "worth, as in compress, such as 0,1,2,4.",
            rich_help_panel=WRITING,
        ),
    ] = "0",
    always: Always = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    white: White = None,
    include: Include = None,
    exclude: Exclude = None,
    report: Annotated[
        Location | None,
        typer.Option(
            "--report",
            parser=parse_location,
            metavar="FILE",
            help="Write a page to choose by looking: a chart, crops before and after, and the "
            "command of each point.",
        ),
    ] = None,
    overwrite: OverwriteFile = False,
) -> int:
    """Show bytes and quality for several numbers of colours, which share one histogram.

    Bytes, PSNR and SSIMULACRA2 are those of compress, which keeps smaller input files, predicted
    from a sample; palette PSNR and Oklab distance are exact, over all pixels. Leaves no files but
    the report.
    """
    from kmeans_dask import api
    from kmeans_dask.terminal.sweep import show_sweep

    found = api.sweep(
        inputs,
        colors=numbers_of(colors),
        color_space=color_space,
        weight=weight,
        seed=seed,
        format=format_,
        effort=effort,
        dither=dither,
        lossy=weights_of(lossy),
        always=always,
        max_pixels=max_pixels,
        white=parse_white(white),
        include=include or (),
        exclude=exclude or (),
        report=report,
        overwrite=overwrite,
        client=session.choice,
        progress=session.progress,
    )
    session.show(found.as_dict(), show_sweep(found))
    return int(bool(found.failures))


@app.command(epilog="Example: kmeans-dask estimate photos/ --colors 64")
@placed
def estimate(
    session: Session,
    inputs: Inputs,
    colors: Colors = _FIT.colors,
    scope: Scope = SCOPES[0],
    min_psnr: MinPsnr = None,
    max_error: MaxError = None,
    color_space: ColorSpace = _FIT.space,
    seed: Seed = _FIT.seed,
    format_: Format = _ENCODE.format,
    effort: Effort = _ENCODE.effort,
    dither: Dither = _ENCODE.dither,
    lossy: LossyText = "0",
    always: Always = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    white: White = None,
    include: Include = None,
    exclude: Exclude = None,
) -> int:
    """Predict the size, quality, time and memory of compress from a sample. Leaves no files."""
    from kmeans_dask import api
    from kmeans_dask.terminal.estimate import show_estimate

    found = api.estimate(
        inputs,
        colors=colors,
        palette=scope,
        min_psnr=min_psnr,
        max_error=max_error,
        color_space=color_space,
        seed=seed,
        format=format_,
        effort=effort,
        dither=dither,
        lossy=parse_lossy(lossy),
        always=always,
        max_pixels=max_pixels,
        white=parse_white(white),
        include=include or (),
        exclude=exclude or (),
        client=session.choice,
        progress=session.progress,
    )
    session.show(found.as_dict(), show_estimate(found))
    return int(bool(found.failures))


@app.command(epilog="Example: kmeans-dask compare cathedral.jpg --colors 16")
def compare(
    image: Annotated[
        Location, typer.Argument(parser=parse_location, metavar="IMAGE", help="The image file.")
    ],
    colors: Annotated[
        int, typer.Option("--colors", "-k", min=2, max=256, help="Number of centroids.")
    ] = 16,
    seed: Seed = _FIT.seed,
    as_json: Json = False,
) -> int:
    """Time kmeans-dask, a textbook k-means, scikit-learn and others on the same pixels.

    All start from the same random pixels and stop by the same rule, except where a note is shown.
    OpenCV, faiss and libimagequant take part where they are installed.
    """
    from kmeans_dask.steps.compare import compare as run_all
    from kmeans_dask.terminal.compare import show_comparison

    if seed < 0:
        raise UsageError(f"--seed is {seed}: choose 0 or more")
    found = run_all(image, colors, seed=seed)
    show(found.as_dict(), show_comparison(found), as_json=as_json)
    return 0


@app.command(epilog="Example: kmeans-dask palette photos.zarr colors.gpl")
def palette(
    source: Annotated[
        Location,
        typer.Argument(
            parser=parse_location, metavar="STORE-or-FILE", help="A store, or a palette file."
        ),
    ],
    target: Annotated[
        Location | None,
        typer.Argument(
            parser=parse_location,
            metavar="FILE",
            help="File to write the palette to: .json, .gpl, .act, .pal, .hex or .png.",
        ),
    ] = None,
    name: PaletteName = None,
    overwrite: OverwriteFile = False,
    as_json: Json = False,
) -> int:
    """Show a palette, or convert it to or from GIMP, Adobe, JASC, hex lines, PNG and JSON."""
    from kmeans_dask.api import views
    from kmeans_dask.terminal.palette import show_palette

    found = views.palette(source, target, palette_name=name, overwrite=overwrite)
    show(found.as_dict(), show_palette(found), as_json=as_json)
    return 0


@app.command(epilog="Example: kmeans-dask report photos.zarr")
def report(
    context: typer.Context,
    source: Annotated[
        Location,
        typer.Argument(
            parser=parse_location,
            metavar="STORE-or-OUTPUT",
            help="A store, or the output folder of a job.",
        ),
    ],
    target: Annotated[
        Location | None,
        typer.Argument(
            parser=parse_location,
            metavar="FILE",
            help="File to write the report of a store to.",
            show_default="NAME-report.html, in this folder",
        ),
    ] = None,
    name: PaletteName = None,
    overwrite: OverwriteFile = False,
) -> int:
    """Write report.html again into the output of a job, or write the report of a store."""
    from kmeans_dask.api import views

    if not views.is_store(source):
        refuse_given(context, "OUTPUT", ("name", "overwrite"))
    views.report(source, target, palette_name=name, overwrite=overwrite)
    return 0


@app.command(epilog="Example: kmeans-dask plot cathedral.jpg --colors 16")
def plot(
    context: typer.Context,
    source: Annotated[
        Location,
        typer.Argument(
            parser=parse_location,
            metavar="IMAGE-or-STORE",
            help="An image, or a store with a palette.",
        ),
    ],
    colors: Annotated[
        int, typer.Option("--colors", "-k", min=2, max=256, help="Palette entries for an image.")
    ] = 16,
    seed: Seed = _FIT.seed,
    name: PaletteName = None,
    output: Annotated[
        Location,
        typer.Option(
            parser=parse_location,
            metavar="DIR",
            help="Folder to write to.",
            show_default="this folder",
        ),
    ] = Path(),
    overwrite: OverwriteFile = False,
    as_json: Json = False,
) -> int:
    """Draw the colour space before and after, and images beside their compressed ones.

    Writes two PNG files: NAME-colours.png, and NAME-compressed.png, which shows up to four images
    of a store. Needs Matplotlib.
    """
    from kmeans_dask.api import views
    from kmeans_dask.report.plots import show_plots

    is_store = source.is_dir()
    refuse_given(context, *(("STORE", ("colors", "seed")) if is_store else ("IMAGE", ("name",))))
    found = views.plot(
        source,
        colors=colors,
        seed=seed,
        palette_name=name,
        output=output,
        overwrite=overwrite,
    )
    data = {"files": list(map(str, found.files)), **found.exhibit.as_dict()}
    show(data, show_plots(found.exhibit, found.files), as_json=as_json)
    return 0


@app.command(epilog="Example: kmeans-dask info photos.zarr")
def info(store: StorePath, as_json: Json = False) -> int:
    """Show what a store holds: images, colours, palettes, versions."""
    from kmeans_dask import api
    from kmeans_dask.terminal.summary import show_info

    found = api.info(store)
    show(asdict(found), show_info(found), as_json=as_json)
    return 0


@app.command(epilog="Example: kmeans-dask verify photos.zarr --repair")
@placed
def verify(
    session: Session,
    store: StorePath,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Repair what is damaged, from copies or the images."),
    ] = False,
) -> int:
    """Read every byte of a store, and name what is not as it was written."""
    from kmeans_dask import api
    from kmeans_dask.terminal.verify import show_verified

    found = api.verify(store, repair=repair, client=session.choice, progress=session.progress)
    session.show(found.as_dict(), show_verified(found, repaired=repair))
    return int(bool(found.damages) and not found.repaired)
