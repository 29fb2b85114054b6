"""Ctrl-C and SIGTERM: an orderly end of the job, whatever it is doing."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_received: signal.Signals | None = None


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside the block the first SIGINT or SIGTERM raises KeyboardInterrupt.

    A second one does what the system does by default: it ends the process at once.
    """
    global _received
    _received = None
    before = {number: signal.signal(number, _receive) for number in _SIGNALS}
    report = sys.unraisablehook

    def report_others(dropped: sys.UnraisableHookArgs) -> None:
        if dropped.exc_type is not KeyboardInterrupt:  # that one, `check_interrupted` makes good
            report(dropped)

    sys.unraisablehook = report_others
    try:
        yield
    finally:
        # CPython remembers an interrupt that came in code made from a string, such as a dataclass
        # runs when it is defined: `python -m` then ends by SIGINT, whatever code we exit with. It
        # forgets it when other such code runs.
        exec("")  # noqa: S102
        sys.unraisablehook = report
        for number, handler in before.items():
            signal.signal(number, handler)


def _receive(number: int, _: FrameType | None) -> None:
    global _received
    _received = signal.Signals(number)
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    raise KeyboardInterrupt


def check_interrupted() -> None:
    """Raise KeyboardInterrupt if a signal has come.

    To be called wherever a job waits or goes on to its next piece of work: Python drops the
    exception where the signal happens to fall into a finaliser or a weak reference's callback.
    """
    if _received:
        raise KeyboardInterrupt


def is_interrupted() -> bool:
    """Return whether SIGINT or SIGTERM has been received.

    What is done after that only tidies up.
    """
    return _received is not None


def exit_code() -> int:
    """What a process ended by the signal received says: 128 and its number."""
    return 128 + (_received or signal.SIGINT)


@contextmanager
def uninterrupted_children() -> Iterator[None]:
    """Processes and threads started inside the block never get SIGINT; it comes to us later.

    Ctrl-C goes to all processes of a terminal's job. It ends this one, and that ends the others.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's business
        return
    # Started now, as starting it unblocks the signal in the thread that needs it first.
    _start_tracker()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_tracker() -> None:
    """Start the resource tracker of multiprocessing with its warnings switched off.

    The tracker is a process that removes what dead processes leave. Otherwise it would warn of a
    semaphore of Zarr's Blosc for each worker that an image has ended.
    """
    option = "ignore:resource_tracker:UserWarning"
    sys.warnoptions.append(option)  # the tracker is started with the options of this process
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(option)
