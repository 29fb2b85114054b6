"""Command line: parses the words of a command, runs it, and ends with an exit code.

Exit codes: 0 all done, 1 some images failed, 2 the request cannot be carried out (nothing was
written), 3 the job broke off, 130 or 143 interrupted by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

import typer

from kmeans_dask import interrupts
from kmeans_dask.cli import compress, inspect  # noqa: F401 - they add their commands
from kmeans_dask.cli.app import app
from kmeans_dask.cli.session import Session
from kmeans_dask.errors import JobError, KMeansDaskError

# Objects that Python allocates before it collects garbage. Imports leave no garbage, and with
# Python's own threshold of 700, collection takes a tenth of the time that one photograph takes.
_YOUNG = 100_000
_MISSING = ("Missing argument 'INPUT", "Missing argument '[INPUT", "Missing argument 'OUTPUT")
_LAST = {
    "compress": "INPUT or OUTPUT is missing: name images, and then the folder to write to, as in "
    "`kmeans-dask compress photos/ out/`",
    "encode": "OUTPUT is missing: name a folder to write to",
    "ingest": "INPUT or STORE is missing: name images, and then the store, as in "
    "`kmeans-dask ingest photos/ photos.zarr`",
    "tokenize": "STORE is missing: name images, and then the store, as in "
    "`kmeans-dask tokenize photos/ tokens.zarr`, or a store alone",
}


def main(words: Sequence[str] | None = None, obj: object = None) -> None:
    """Run the command line of this process, or `words` in its place, and exit.

    obj: object that the commands find in their Typer context
    """
    gc.set_threshold(_YOUNG)
    # Without this, processes that we start would import Python files from the current folder, where
    # they may lie among images that came from anywhere.
    os.environ["PYTHONSAFEPATH"] = "1"
    # Without a home folder, Dask and Zarr would read settings from a folder "~" in the current one.
    if not os.path.isabs(os.path.expanduser("~")):  # noqa: PTH111, PTH117 - Path's raises then
        os.environ["HOME"] = os.sep
    for stream in (sys.stdout, sys.stderr):  # a terminal shows the code of a character it lacks
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with interrupts.interruptible():
            code = _main(words, obj)
    except KeyboardInterrupt:  # before the words are parsed, or after the command
        code = interrupts.exit_code()
    sys.exit(code)


def _main(given: Sequence[str] | None = None, obj: object = None) -> int:
    words = list(sys.argv[1:] if given is None else given)
    Session.leaves_work = False
    try:
        code: int = app(words, prog_name="kmeans-dask", standalone_mode=False, obj=obj) or 0
        # typer turns a KeyboardInterrupt into this code
        return _broken("interrupted", interrupts.exit_code()) if code == 130 else code
    except JobError as error:
        return _broken(str(error), 3)
    except KMeansDaskError as error:
        return _fail(str(error), 2)
    except typer.TyperException as error:
        return _fail(_said(error, words), error.exit_code)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _broken(f"{error.strerror or error or type(error).__name__}{where}", 3)
    except (KeyboardInterrupt, typer.Abort):
        return _broken("interrupted", interrupts.exit_code())
    except Exception as error:
        if os.environ.get("KMEANS_DASK_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}"
        return _fail(f"a defect, please report it: {what} (KMEANS_DASK_DEBUG=1 shows where)", 3)


def _said(error: typer.TyperException, words: Sequence[str]) -> str:
    """Return the message of a command line error, which names both paths where one is missing.

    Typer alone would name INPUT, although either of the two may be missing.
    """
    message = error.format_message()
    last = _LAST.get(words[0]) if words else None
    return last if last and message.startswith(_MISSING) else message


def _broken(message: str, code: int) -> int:
    """Write the message of a job that broke off, with what to do next, and return `code`."""
    hint = "; what is done is kept: --resume goes on from there"
    return _fail(message + hint * Session.leaves_work, code)


def _fail(message: str, code: int) -> int:
    from kmeans_dask.text import printable

    if message:
        sys.stderr.write(f"kmeans-dask: {printable(message)}\n")
    return code
