"""`dask kmeans ...`: the same command line, as a command of Dask's."""

from __future__ import annotations

import click

from kmeans_dask.cli import main


class _Passing(click.Command):
    """Passes all words on as they are, --help too, and ends as `kmeans-dask` does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.args = list(args)
        return []

    def invoke(self, ctx: click.Context) -> None:
        main(ctx.args)


command = _Passing(
    "kmeans",
    short_help="Compress collections of images by exact k-means colour quantisation.",
    add_help_option=False,
)
