"""Handling of Ctrl-C and SIGTERM: an orderly end of the job, whatever it is doing."""

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
    """Raise KeyboardInterrupt in the block on the first SIGINT or SIGTERM.

    A second signal does what the system does by default: it ends the process at once.
    """
    global _received
    _received = None
    before = {number: signal.signal(number, _receive) for number in _SIGNALS}
    report = sys.unraisablehook

    def report_others(dropped: sys.UnraisableHookArgs) -> None:
        if dropped.exc_type is not KeyboardInterrupt:  # `check_interrupted` raises it again
            report(dropped)

    sys.unraisablehook = report_others
    try:
        yield
    finally:
        # CPython remembers an interrupt in code that was made from a string, such as runs when a
        # dataclass is defined: `python -m` then ends by SIGINT, whatever the exit code. It forgets
        # the interrupt when other such code runs.
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

    Call this wherever a job waits or begins its next piece of work: Python drops the exception
    where the signal happens to come in a finaliser or a weak reference's callback.
    """
    if _received:
        raise KeyboardInterrupt


def is_interrupted() -> bool:
    """Return whether SIGINT or SIGTERM has been received.

    All that a job does after that is to tidy up.
    """
    return _received is not None


def exit_code() -> int:
    """Return the exit code of a process that the received signal ends: 128 plus its number."""
    return 128 + (_received or signal.SIGINT)


@contextmanager
def uninterrupted_children() -> Iterator[None]:
    """Keep SIGINT from processes and threads started in the block; this one gets it afterwards.

    Ctrl-C goes to all processes of a terminal's job. It ends this one, which ends the others.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals in the main thread
        return
    # Started now: later, that would unblock the signal in the first thread that needs the tracker.
    _start_tracker()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_tracker() -> None:
    """Start the resource tracker of multiprocessing with its warnings switched off.

    The tracker is a process that removes what dead processes leave. Otherwise it would warn of a
    semaphore of Zarr's Blosc for each worker that was ended because of an image.
    """
    option = "ignore:resource_tracker:UserWarning"
    sys.warnoptions.append(option)  # the tracker is started with the options of this process
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(option)
