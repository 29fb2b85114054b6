"""Words to calls.

Exit codes: 0 all done, 1 some images failed, 2 the request cannot be carried out (nothing was
written), 3 the job broke off, 130 or 143 interrupted by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

import typer

from kmeans_dask import interrupts
from kmeans_dask.cli.commands import app
from kmeans_dask.errors import JobError, KMeansDaskError


def main() -> None:
    """Run the command line, and exit."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character shows its code
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with interrupts.interruptible():
        code = _main()
    sys.exit(code)


def _main() -> int:
    try:
        code: int = app(standalone_mode=False) or 0
        # typer turns a KeyboardInterrupt into this code
        return _fail("interrupted", interrupts.exit_code()) if code == 130 else code
    except JobError as error:
        return _fail(str(error), 3)
    except KMeansDaskError as error:
        return _fail(str(error), 2)
    except typer.TyperException as error:
        return _fail(error.format_message(), error.exit_code)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror or error or type(error).__name__}{where}", 3)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", interrupts.exit_code())
    except Exception as error:
        if os.environ.get("KMEANS_DASK_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}"
        return _fail(f"a defect, please report it: {what} (KMEANS_DASK_DEBUG=1 shows where)", 3)


def _fail(message: str, code: int) -> int:
    from kmeans_dask.views.text import printable

    if message:
        sys.stderr.write(f"kmeans-dask: {printable(message)}\n")
    return code
