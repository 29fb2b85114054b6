"""Images that end, hang, hold or fill the process that decodes them, as their names say."""

from __future__ import annotations

import os
from pathlib import Path

# A module that Python imports first. No decoder is known to fail so by itself, but one may yet.
# The limit of `hang` has passed at once, so that no test waits and sound images have a long limit.
SITE = """
import os, signal, sys, threading, time
from PIL import ImageFile

load = ImageFile.ImageFile.load

def load_or_not(image):
    name = os.path.basename(str(getattr(image, "filename", "")))
    if name.startswith(("crash", "hang", "greedy", "held")):
        with open(os.environ["FAULTS_LOG"], "a") as log:
            place = "probe" if "kmeans_dask.images.inspector" in sys.orig_argv else "worker"
            log.write(f"{place} {os.getpid()} {name}\\n")
    if name.startswith("crash"):
        signal.pthread_kill(threading.get_ident(), signal.SIGSEGV)  # as a decoder would do it
    if name.startswith("hang"):
        from kmeans_dask import time_limit
        from kmeans_dask.stopwatch import Stopwatch
        time_limit._limits[threading.get_ident()] = time_limit.Limit(0.0, Stopwatch())
        time.sleep(100000)
    while name.startswith("held") and not os.path.exists(os.environ["FAULTS_GATE"]):
        time.sleep(0.01)
    held = []
    while name.startswith("greedy"):
        held.append(b"x" * (1 << 24))
        time.sleep(0.01)
    return load(image)

ImageFile.ImageFile.load = load_or_not
"""


class Faults:
    """Patches in `folder` that make images fail in jobs which run with `environment`."""

    def __init__(self, folder: Path) -> None:
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(SITE)
        self.gate = folder / "gate"  # images called `held` are not decoded before this file exists
        self._log = folder / "log"
        self._log.touch()
        self.environment = {
            "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
            "FAULTS_LOG": str(self._log),
            "FAULTS_GATE": str(self.gate),
        }

    def said(self) -> list[str]:
        """Return a line for each decoding of such an image: probe or worker, process ID, name."""
        return self._log.read_text().splitlines()

    def workers(self) -> list[int]:
        """Return the process IDs of workers that decoded such images, in order."""
        pids = [int(line.split()[1]) for line in self.said() if line.startswith("worker")]
        return list(dict.fromkeys(pids))
