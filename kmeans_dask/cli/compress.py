"""Commands that write images or stores: compress, ingest, fit, encode, tokenize.

Each command parses its options, calls the function of the same name in `kmeans_dask.api`, and shows
the summary that the function returns.
"""

from __future__ import annotations

from typing import Annotated

import typer

from kmeans_dask.cli.app import app
from kmeans_dask.cli.cluster_options import placed
from kmeans_dask.cli.options import (
    PALETTE,
    RUNNING,
    WRITING,
    Always,
    Checksum,
    Colors,
    ColorSpace,
    Dither,
    Effort,
    Exclude,
    FixedColors,
    Format,
    ImageTimeout,
    Include,
    Init,
    Inputs,
    KeepMetadata,
    Location,
    LossyText,
    MaxError,
    MaxIter,
    MaxPixels,
    MinPsnr,
    MinSsimulacra2,
    NInit,
    Output,
    Overwrite,
    PaletteName,
    PartitionPixels,
    Resume,
    Scope,
    Seed,
    StorePath,
    Tol,
    TotalSize,
    Weight,
    White,
    parse_fixed_colors,
    parse_lossy,
    parse_white,
    refuse_given,
)
from kmeans_dask.cli.session import Session
from kmeans_dask.errors import UsageError
from kmeans_dask.files import parse_location
from kmeans_dask.settings import (
    IMAGE_SECONDS,
    MAX_PIXELS,
    PARTITION_PIXELS,
    SCOPES,
    EncodeSettings,
    FitSettings,
)

# Everything else is imported where it is used: --help and errors need no numba and no Dask.

_FIT, _ENCODE = FitSettings(), EncodeSettings()
# Parameters of `compress` that make no sense with a given palette.
_FITTED = (
    *("colors", "scope", "fixed_colors", "weight", "n_init", "seed", "init", "max_iter", "tol"),
    "store",
)
# Parameters of `tokenize` that make no sense with the palette of a store.
_FITTING = {
    *("colors", "min_psnr", "max_error", "fixed_colors", "color_space", "weight", "n_init"),
    *("seed", "init"),
    *("max_iter", "tol", "resume", "partition_pixels", "max_pixels", "white", "include", "exclude"),
    *("image_timeout", "checksum"),
}


@app.command(epilog="Example: kmeans-dask compress photos/ out/ --colors 64")
@placed
def compress(
    context: typer.Context,
    session: Session,
    inputs: Inputs,
    output: Output,
    colors: Colors = _FIT.colors,
    scope: Scope = SCOPES[0],
    min_psnr: MinPsnr = None,
    max_error: MaxError = None,
    min_ssimulacra2: MinSsimulacra2 = None,
    total_size: TotalSize = None,
    fixed_colors: FixedColors = "",
    palette_file: Annotated[
        Location | None,
        typer.Option(
            parser=parse_location,
            metavar="FILE",
            help="Use the palette in this file, and fit none: JSON, .gpl, .act, .pal, .hex or PNG.",
            rich_help_panel=PALETTE,
        ),
    ] = None,
    color_space: ColorSpace = _FIT.space,
    weight: Weight = _FIT.weight,
    n_init: NInit = None,
    seed: Seed = _FIT.seed,
    init: Init = _FIT.init,
    max_iter: MaxIter = None,
    tol: Tol = None,
    format_: Format = _ENCODE.format,
    effort: Effort = _ENCODE.effort,
    dither: Dither = _ENCODE.dither,
    lossy: LossyText = "0",
    keep_metadata: KeepMetadata = False,
    always: Always = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
    store: Annotated[
        Location | None,
        typer.Option(
            parser=parse_location,
            help="Keep the store of pixels and colours at this path; new images are added to a "
            "store that exists.",
            rich_help_panel=WRITING,
        ),
    ] = None,
    keep_palette: Annotated[
        bool,
        typer.Option(
            "--keep-palette",
            help="Use the palette that --store has, so that only new images are written.",
            rich_help_panel=PALETTE,
        ),
    ] = False,
    partition_pixels: PartitionPixels = PARTITION_PIXELS,
    max_pixels: MaxPixels = MAX_PIXELS,
    white: White = None,
    include: Include = None,
    exclude: Exclude = None,
    image_timeout: ImageTimeout = IMAGE_SECONDS,
    checksum: Checksum = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and write nothing.")
    ] = False,
) -> int:
    """Compress images with one exact palette for all of them, or for each image or folder.

    Writes each image with at most --colors colours into OUTPUT, in the same folders as in INPUT,
    and palette.json beside them. A file that cannot be read is named in the summary and in
    failures.jsonl, and all others are compressed.
    """
    from kmeans_dask import api
    from kmeans_dask.terminal.summary import show_finished, show_plan, show_summary

    palette: str | api.Palette = scope
    if palette_file:
        refuse_given(context, "--palette-file", _FITTED)
        palette = api.Palette.load(palette_file)
    if dry_run:
        plan = api.plan(
            inputs,
            partition_pixels=partition_pixels,
            max_pixels=max_pixels,
            include=include or (),
            exclude=exclude or (),
            image_timeout=image_timeout,
            checksum=checksum,
            progress=session.progress,
        )
        session.show(plan.as_dict(), show_plan(plan))
        return int(bool(plan.failures))
    summary = api.compress(
        inputs,
        output,
        colors=colors,
        palette=palette,
        min_psnr=min_psnr,
        max_error=max_error,
        min_ssimulacra2=min_ssimulacra2,
        total_size=total_size,
        fixed_colors=parse_fixed_colors(fixed_colors),
        color_space=color_space,
        weight=weight,
        n_init=n_init,
        seed=seed,
        init=init,
        max_iter=max_iter,
        tol=tol,
        format=format_,
        effort=effort,
        dither=dither,
        lossy=parse_lossy(lossy),
        keep_metadata=keep_metadata,
        always=always,
        overwrite=overwrite,
        resume=resume,
        store=store,
        keep_palette=keep_palette,
        partition_pixels=partition_pixels,
        max_pixels=max_pixels,
        white=parse_white(white),
        include=include or (),
        exclude=exclude or (),
        image_timeout=image_timeout,
        checksum=checksum,
        client=session.choice,
        progress=session.progress,
    )
    shown = show_finished(output) if summary.was_finished else show_summary(summary)
    session.show(summary.as_dict(), shown)
    return int(summary.failed > 0)


@app.command(epilog="Example: kmeans-dask ingest photos/ photos.zarr")
@placed
def ingest(
    session: Session,
    inputs: Inputs,
    store: StorePath,
    keep_metadata: KeepMetadata = False,
    resume: Resume = False,
    partition_pixels: PartitionPixels = PARTITION_PIXELS,
    max_pixels: MaxPixels = MAX_PIXELS,
    white: White = None,
    include: Include = None,
    exclude: Exclude = None,
    image_timeout: ImageTimeout = IMAGE_SECONDS,
    checksum: Checksum = False,
) -> int:
    """Decode images into a store, and count their colours; images that it has already stay.

    Palettes of any number of colours can then be fitted without decoding the images again.
    """
    from kmeans_dask.api import store_jobs
    from kmeans_dask.terminal.summary import show_ingested

    ingested = store_jobs.ingest(
        inputs,
        store,
        keep_metadata=keep_metadata,
        resume=resume,
        partition_pixels=partition_pixels,
        max_pixels=max_pixels,
        white=parse_white(white),
        include=include or (),
        exclude=exclude or (),
        image_timeout=image_timeout,
        checksum=checksum,
        client=session.choice,
        progress=session.progress,
    )
    session.show(ingested.as_dict(), show_ingested(ingested))
    return int(ingested.failed > 0)


@app.command(epilog="Example: kmeans-dask fit photos.zarr --colors 16")
@placed
def fit(
    session: Session,
    store: StorePath,
    colors: Colors = _FIT.colors,
    min_psnr: MinPsnr = None,
    max_error: MaxError = None,
    fixed_colors: FixedColors = "",
    color_space: ColorSpace = _FIT.space,
    weight: Weight = _FIT.weight,
    n_init: NInit = None,
    seed: Seed = _FIT.seed,
    init: Init = _FIT.init,
    max_iter: MaxIter = None,
    tol: Tol = None,
    resume: Resume = False,
    chunk_colors: Annotated[
        int,
        typer.Option(
            help="Distinct colours that one task fits; with more, workers share each iteration.",
            rich_help_panel=RUNNING,
        ),
    ] = _FIT.chunk_colors,
) -> int:
    """Fit a palette to the colours of a store, and keep it there as kN, for N colours."""
    from kmeans_dask.api import store_jobs
    from kmeans_dask.terminal.summary import show_fit

    fitted = store_jobs.fit(
        store,
        colors=colors,
        min_psnr=min_psnr,
        max_error=max_error,
        fixed_colors=parse_fixed_colors(fixed_colors),
        color_space=color_space,
        weight=weight,
        n_init=n_init,
        seed=seed,
        init=init,
        max_iter=max_iter,
        tol=tol,
        resume=resume,
        chunk_colors=chunk_colors,
        client=session.choice,
        progress=session.progress,
    )
    session.show(fitted.as_dict(), show_fit(fitted, session.progress.seconds))
    return 0


@app.command(epilog="Example: kmeans-dask encode photos.zarr out/ --palette-name k16")
@placed
def encode(
    session: Session,
    store: StorePath,
    output: Output,
    palette_name: PaletteName = None,
    format_: Format = _ENCODE.format,
    effort: Effort = _ENCODE.effort,
    dither: Dither = _ENCODE.dither,
    lossy: LossyText = "0",
    keep_metadata: KeepMetadata = False,
    always: Always = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> int:
    """Write the images of a store with a palette that was fitted to it."""
    from kmeans_dask.api import store_jobs
    from kmeans_dask.terminal.summary import show_summary

    summary = store_jobs.encode(
        store,
        output,
        palette_name=palette_name,
        format=format_,
        effort=effort,
        dither=dither,
        lossy=parse_lossy(lossy),
        keep_metadata=keep_metadata,
        always=always,
        overwrite=overwrite,
        resume=resume,
        client=session.choice,
        progress=session.progress,
    )
    session.show(summary.as_dict(), show_summary(summary))
    return int(summary.failed > 0)


@app.command(epilog="Example: kmeans-dask tokenize photos/ tokens.zarr --colors 4096")
@placed
def tokenize(
    context: typer.Context,
    session: Session,
    paths: Annotated[
        list[Location],
        typer.Argument(
            parser=parse_location,
            metavar="[INPUT...] STORE",
            help="Images, or folders to search for images, and the store; or a store alone, to use "
            "a palette that it has.",
        ),
    ],
    palette_name: PaletteName = None,
    colors: Annotated[
        int,
        typer.Option(
            "--colors", "-k", help="Number of palette entries, 2 to 65536.", rich_help_panel=PALETTE
        ),
    ] = _FIT.colors,
    min_psnr: MinPsnr = None,
    max_error: MaxError = None,
    fixed_colors: FixedColors = "",
    color_space: ColorSpace = _FIT.space,
    weight: Weight = _FIT.weight,
    n_init: NInit = None,
    seed: Seed = _FIT.seed,
    init: Init = _FIT.init,
    max_iter: MaxIter = None,
    tol: Tol = None,
    resume: Resume = False,
    partition_pixels: PartitionPixels = PARTITION_PIXELS,
    max_pixels: MaxPixels = MAX_PIXELS,
    white: White = None,
    include: Include = None,
    exclude: Exclude = None,
    image_timeout: ImageTimeout = IMAGE_SECONDS,
    checksum: Checksum = False,
) -> int:
    """Write every pixel into a store as the index of its palette entry, for machine learning.

    Read the tokens with open_indices in Python, and the palette with the command palette.
    """
    from kmeans_dask.api import store_jobs
    from kmeans_dask.terminal.summary import show_tokens

    *inputs, store = paths
    if not inputs:
        names = {each.name for each in context.command.params}
        refuse_given(context, "STORE alone", tuple(_FITTING & names))
        tokens = store_jobs.tokenize_fitted(
            store, palette_name=palette_name, client=session.choice, progress=session.progress
        )
    else:
        if palette_name is not None:
            raise UsageError("--palette-name is for a store alone: leave it out, or INPUT")
        tokens = store_jobs.tokenize(
            inputs,
            store,
            colors=colors,
            min_psnr=min_psnr,
            max_error=max_error,
            fixed_colors=parse_fixed_colors(fixed_colors),
            color_space=color_space,
            weight=weight,
            n_init=n_init,
            seed=seed,
            init=init,
            max_iter=max_iter,
            tol=tol,
            resume=resume,
            partition_pixels=partition_pixels,
            max_pixels=max_pixels,
            white=parse_white(white),
            include=include or (),
            exclude=exclude or (),
            image_timeout=image_timeout,
            checksum=checksum,
            client=session.choice,
            progress=session.progress,
        )
    session.show(tokens.as_dict(), show_tokens(tokens))
    return int(tokens.failed > 0)
