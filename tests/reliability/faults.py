"""Images that are not as others are: what decodes them is told so by their names."""

from __future__ import annotations

import os
from pathlib import Path

# What Python imports first. No decoder is known that does so of itself; the next one will be.
# The time of `hang` is up at once: no test waits for that, and the limit for good images is high.
SITE = """
import os, signal, sys, threading, time
from PIL import ImageFile

load = ImageFile.ImageFile.load

def load_or_not(image):
    name = os.path.basename(str(getattr(image, "filename", "")))
    if name.startswith(("crash", "hang", "greedy", "held")):
        with open(os.environ["FAULTS_LOG"], "a") as log:
            place = "probe" if "kmeans_dask.imaging.inspector" in sys.orig_argv else "worker"
            log.write(f"{place} {os.getpid()} {name}\\n")
    if name.startswith("crash"):
        signal.pthread_kill(threading.get_ident(), signal.SIGSEGV)  # as a decoder would do it
    if name.startswith("hang"):
        from kmeans_dask import watchdog
        from kmeans_dask.stopwatch import Stopwatch
        watchdog._limits[threading.get_ident()] = watchdog.Limit(0.0, Stopwatch())
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
    """Made in `folder`, for jobs that are given its environment."""

    def __init__(self, folder: Path) -> None:
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(SITE)
        self.gate = folder / "gate"  # until it is there, images called `held` are not decoded
        self._log = folder / "log"
        self._log.touch()
        self.environment = {
            "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
            "FAULTS_LOG": str(self._log),
            "FAULTS_GATE": str(self.gate),
        }

    def said(self) -> list[str]:
        """For each time that such an image was decoded, who did it, its process, and the name."""
        return self._log.read_text().splitlines()

    def workers(self) -> list[int]:
        """The processes of workers that decoded such images, the first one first."""
        pids = [int(line.split()[1]) for line in self.said() if line.startswith("worker")]
        return list(dict.fromkeys(pids))
