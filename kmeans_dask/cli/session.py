"""Session of a command: where it runs, the progress it shows, and its summary on stdout."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kmeans_dask.engine.choice import EngineChoice
    from kmeans_dask.job.progress import Progress

_PIPED = 120  # columns of tables where stdout is no terminal


@dataclass(frozen=True, kw_only=True)
class Session:
    """Session of one command: where it runs, and how it shows its progress and its summary.

    choice: where it runs
    progress: progress that it shows on stderr
    as_json: whether its summary is one JSON object, else text
    quiet: whether a summary as text is left out

    leaves_work: whether the last command broke off and left work that `--resume` continues
    """

    leaves_work: ClassVar[bool] = False

    choice: EngineChoice
    progress: Progress
    as_json: bool = False
    quiet: bool = False

    def show(self, data: dict[str, Any], text: RenderableType) -> None:
        """Show a summary on stdout: `data` as a JSON object, or `text`."""
        if self.as_json or not self.quiet:
            show(data, text, as_json=self.as_json)


@contextmanager
def open_session(
    choice: EngineChoice, *, as_json: bool, quiet: bool, verbose: bool
) -> Iterator[Session]:
    """Yield the session of a command, and note whether an error leaves work to resume."""
    from kmeans_dask.job.progress import Progress
    from kmeans_dask.terminal.progress import open_progress

    if verbose:
        logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stderr)
        logging.getLogger("kmeans_dask").setLevel(logging.INFO)
    try:
        if quiet or verbose:
            yield Session(choice=choice, progress=Progress(), as_json=as_json, quiet=quiet)
        else:
            with open_progress() as progress:
                yield Session(choice=choice, progress=progress, as_json=as_json)
    except BaseException as error:
        Session.leaves_work = getattr(error, "resumable", False)
        raise


def show(data: dict[str, Any], text: RenderableType, *, as_json: bool) -> None:
    """Write a summary to stdout: `data` as one JSON object, or `text`."""
    from rich.console import Console

    if as_json:
        sys.stdout.write(json.dumps(data, allow_nan=False) + "\n")
    else:
        wide = None if sys.stdout.isatty() else _PIPED
        Console(highlight=False, soft_wrap=True, width=wide).print(text)
