"""Signals, sent to real processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

RUN = [sys.executable, "-W", "error", "-c"]


def test_an_interrupt_that_python_drops_is_made_good() -> None:
    code = """
import os, signal, weakref
from kmeans_dask.interrupts import check_interrupted, exit_code, interruptible

class Thing: pass

thing = Thing()
reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
with interruptible():
    check_interrupted()
    del thing
    print("dropped")
    try:
        check_interrupted()
    except KeyboardInterrupt:
        raise SystemExit(exit_code())
"""
    done = subprocess.run([*RUN, code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "dropped\n", "")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_second_signal_ends_the_process_at_once(name: str) -> None:
    code = f"""
import os, signal
from kmeans_dask.interrupts import interruptible

with interruptible():
    try:
        os.kill(os.getpid(), signal.{name})
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGTERM)
    print("not reached")
"""
    done = subprocess.run([*RUN, code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (-15, "")


def test_children_never_see_what_comes_to_us_later() -> None:
    code = """
import os, signal, subprocess, sys
from kmeans_dask.interrupts import interruptible, uninterrupted_children

sleep = "import time; print('up', flush=True); time.sleep(1); print('slept')"
with interruptible():
    try:
        with uninterrupted_children():
            child = subprocess.Popen([sys.executable, "-c", sleep], stdout=-1, text=True)
            assert child.stdout.readline() == "up\\n"
            os.killpg(0, signal.SIGINT)
            print("still here", flush=True)
    except KeyboardInterrupt:
        print(child.communicate()[0], end="", flush=True)
"""
    done = subprocess.run(
        [*RUN, code], capture_output=True, text=True, timeout=60, start_new_session=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "still here\nslept\n", "")
