"""Damages of a store in a few lines of text."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from kmeans_dask.steps.verify import VerifyResult
from kmeans_dask.text import printable

_NAMED = 20


def show_verified(verified: VerifyResult, *, repaired: bool) -> RenderableType:
    """Return the damages of a store in lines of text.

    repaired: whether a repair was tried
    """
    damages = verified.damages
    if not damages:
        return Text(f"all {verified.places:,} parts are as they were written")
    lines = [
        Text(f"damaged: {printable(damage.place)} {printable(damage.reason)}", style="red")
        for damage in damages[:_NAMED]
    ]
    if len(damages) > _NAMED:
        lines.append(Text(f"... and {len(damages) - _NAMED:,} more", style="red"))
    if repaired:
        end = "everything is repaired" if verified.repaired else "not everything can be repaired"
    else:
        end = (
            f"{len(damages):,} of {verified.places:,} parts are damaged: repair them with --repair"
        )
    return Group(*lines, Text(end))
