"""Signals, sent to real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kmeans_dask

ROOT = Path(kmeans_dask.__file__).parents[1]
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
    done = subprocess.run([*RUN, code], capture_output=True, text=True, timeout=600)
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
    done = subprocess.run([*RUN, code], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout) == (-15, "")


def test_an_interrupt_in_code_from_a_string_does_not_change_the_code(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from kmeans_dask.interrupts import exit_code, interruptible

with interruptible():
    try:
        exec("os.kill(os.getpid(), signal.SIGTERM)")
    except KeyboardInterrupt:
        code = exit_code()
sys.exit(code)
"""
    (tmp_path / "interrupted.py").write_text(code)
    words = [sys.executable, "-m", "interrupted"]
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (143, "")


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
        [*RUN, code], capture_output=True, text=True, timeout=600, start_new_session=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "still here\nslept\n", "")


@pytest.mark.parametrize("when", ["list", "_fail"])
def test_a_signal_before_the_first_word_or_at_the_last_has_the_same_code(when: str) -> None:
    code = f"""
import os, signal
from kmeans_dask import cli

def interrupt(*_):
    os.kill(os.getpid(), signal.SIGTERM)

cli.{when} = interrupt
cli.main(["info", "nowhere.zarr"])
"""
    done = subprocess.run([*RUN, code], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (143, "")
