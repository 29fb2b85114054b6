"""Which images end the process that decodes them: found out by processes that can be spared.

    python -m kmeans_dask.imaging.probe SECONDS MEMORY MAX_PIXELS < PATHS

decodes the images whose paths, as JSON strings, are the lines of its input, and says so of each.
"""

from __future__ import annotations

import json
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from kmeans_dask.errors import ImageError
from kmeans_dask.imaging.decode import decode
from kmeans_dask.settings import DecodeSettings
from kmeans_dask.storage import place_of
from kmeans_dask.watchdog import EXIT_CODE, time_limit

_NO_MEMORY = 4  # exit code
_TOO_MUCH = "takes more memory to decode than a worker has: quarantined"
_START = 60.0  # seconds for a process to begin, on a machine that is busy


def find_killers(
    paths: Sequence[str], settings: DecodeSettings, memory: int | None = None
) -> dict[str, str]:
    """Of images at `paths` those whose decoding ends its process, each with the reason.

    memory: bytes that a process may take; None for as many as there are
    """
    rest, killers = list(paths), {}
    while rest:
        done, reason = _decode_until_death(rest, settings, memory)
        if done < len(rest):
            killers[rest[done]] = reason
        rest = rest[done + 1 :]
    return killers


def _decode_until_death(
    paths: Sequence[str], settings: DecodeSettings, memory: int | None
) -> tuple[int, str]:
    """How many of `paths` one process decodes, and why it decodes no more."""
    words = [str(settings.seconds), str(memory or 0), str(settings.max_pixels)]
    with subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-P", "-m", "kmeans_dask.imaging.probe", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin
        assert process.stdout
        with suppress(BrokenPipeError):
            process.stdin.write("".join(json.dumps(path) + "\n" for path in paths).encode())
            process.stdin.close()
        done, deadline = 0, time.monotonic() + _START + settings.seconds
        while done < len(paths):
            # its own limit comes first: this one is for a process that is past helping itself
            ready, _, _ = select.select([process.stdout], [], [], deadline - time.monotonic())
            if not ready:
                process.kill()
                return done, _too_long(settings)
            said = process.stdout.read1()  # type: ignore[attr-defined]
            if not said:
                break
            done += len(said)
            deadline = time.monotonic() + _START + settings.seconds
        code = process.wait()
    reasons = {EXIT_CODE: _too_long(settings), _NO_MEMORY: _TOO_MUCH}
    return done, reasons.get(code) or _of_death(code)


def _too_long(settings: DecodeSettings) -> str:
    return f"takes longer than {settings.seconds:g} s to decode: quarantined"


def _of_death(code: int) -> str:
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"ends the process that decodes it ({how}): quarantined"


def _main(seconds: str, memory: str, max_pixels: str) -> None:
    if int(memory):
        resource.setrlimit(resource.RLIMIT_DATA, (int(memory), int(memory)))
    for line in sys.stdin:
        try:
            with time_limit(float(seconds)):
                decode(place_of(json.loads(line)), int(max_pixels))
        except ImageError as error:  # a worker would not be told, but killed
            if isinstance(error.__cause__, MemoryError):
                sys.exit(_NO_MEMORY)
        sys.stdout.write(".")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
