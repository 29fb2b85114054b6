"""Typer app of the command line, to which the modules of commands add theirs."""

from __future__ import annotations

from typing import Annotated

import typer

import kmeans_dask

app = typer.Typer(
    name="kmeans-dask",
    help="Compress collections of images by exact k-means colour quantisation, on Dask.",
    epilog="Example: kmeans-dask compress photos/ out/ --colors 64",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(kmeans_dask.__version__)  # noqa: T201
        raise typer.Exit
