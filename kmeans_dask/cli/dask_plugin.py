"""Plugin of the `dask` command: `dask kmeans ...` is the same as `kmeans-dask ...`."""

from __future__ import annotations

import click

from kmeans_dask.cli import main


class _Passing(click.Command):
    """Command that passes all words on, --help too, and ends as `kmeans-dask` does."""

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
