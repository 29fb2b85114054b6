"""Running of a step on an engine: where it runs, what is shown, and how its errors end it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from kmeans_dask.engine.choice import EngineChoice, current_choice, open_engine
from kmeans_dask.errors import JobError, StoreError, UsageError
from kmeans_dask.job.progress import Progress
from kmeans_dask.option_checks import Limits, brief, checked
from kmeans_dask.plan.placement import is_quick, is_safe, is_small
from kmeans_dask.plan.plan import Plan
from kmeans_dask.settings import DecodeSettings, EncodeSettings

if TYPE_CHECKING:
    from distributed import Client

    from kmeans_dask.engine import Engine

_UNENCRYPTED = (
    "kmeans-dask: warning: {} is used without TLS: whoever can reach it can run code as its user. "
    "See docs/tls.md; where you trust the network, set DASK_KMEANS__TRUSTED_NETWORK=true"
)


@dataclass(frozen=True)
class ProgressEvent:
    """State of the running step, for a function that is given as `progress`.

    step: name of the step: plan, ingest, count, fit, encode, ...
    done: units of work that are done, failed ones included
    failed: units that have failed
    total: units of the whole step, or None where nobody knows
    unit: name of the units, as "images"; may be empty
    is_finished: whether the step has ended
    """

    step: str
    done: int = 0
    failed: int = 0
    total: int | None = None
    unit: str = ""
    is_finished: bool = False


_Shown = Annotated[bool, Limits("True, False or a function")]
_Workers = Annotated[int | None, Limits("0 (this process) or more", 0)]
_Size = Annotated[int | float | str, Limits("a size, such as '2GB'")]
ShowProgress = bool | Progress | Callable[[ProgressEvent], None]


class _CallbackProgress(Progress):
    """Progress that calls a function with each event."""

    def __init__(self, call: Callable[[ProgressEvent], None]) -> None:
        super().__init__()
        self._call = call
        self._event = ProgressEvent("")

    def start(self, step: str, total: int | None = None, unit: str = "") -> None:
        super().start(step, total, unit)
        self._tell(ProgressEvent(step, total=total, unit=unit))

    def advance(self, n: int, failed: int = 0) -> None:
        super().advance(n, failed)
        before = self._event
        self._tell(replace(before, done=before.done + n, failed=before.failed + failed))

    def finish(self) -> None:
        super().finish()
        self._tell(replace(self._event, is_finished=True))

    def _tell(self, event: ProgressEvent) -> None:
        self._event = event
        self._call(event)


@contextmanager
def progress_for(progress: ShowProgress) -> Iterator[Progress]:
    """Yield the progress of a call: bars for True, nothing for False, or calls of a function."""
    if isinstance(progress, Progress):
        yield progress
    elif callable(progress):
        yield _CallbackProgress(progress)
    elif checked("progress", progress, _Shown):
        from kmeans_dask.terminal.progress import open_progress

        with open_progress() as shown:
            yield shown
    else:
        yield Progress()


def choose_engine(
    client: Client | EngineChoice | None, workers: int | None, memory_limit: str | int | None
) -> EngineChoice:
    """Return the choice of an engine that the arguments of a call make.

    Raises UsageError where one of them excludes another, or is of another type or out of range.
    """
    if isinstance(client, EngineChoice):
        return client
    if client is not None:
        if workers is not None or memory_limit is not None:
            raise UsageError(
                "a client has workers of its own: leave workers and memory_limit out, or client"
            )
        is_asynchronous = getattr(client, "asynchronous", None)
        if is_asynchronous is None:
            raise UsageError(f"client is {brief(client)}: give a Client of dask.distributed")
        if is_asynchronous:
            raise UsageError(
                "the client is asynchronous: make one with Client(..., asynchronous=False)"
            )
        return EngineChoice(client=client)
    if workers is None and memory_limit is None:
        return current_choice()
    memory = None if memory_limit is None else parse_size(memory_limit, "memory_limit")
    return EngineChoice(workers=checked("workers", workers, _Workers), memory=memory)


def parse_size(size: str | int, name: str) -> int:
    """Return a size in bytes, from a number or from text as "2GB" or "1500MiB".

    name: name of the option, for the message. Raises UsageError where the text is no size, or is
    too small for a worker process.
    """
    from dask.utils import parse_bytes

    from kmeans_dask.settings import PROCESS_BYTES

    try:
        n_bytes = int(parse_bytes(checked(name, size, _Size)))
    except ValueError:
        raise UsageError(f"{name} is {size!r}: write a size as 2GB") from None
    if n_bytes <= PROCESS_BYTES:
        least = PROCESS_BYTES / 1e6
        raise UsageError(f"{name} is {size!r}: a worker takes {least:,.0f} MB before any image")
    return n_bytes


@contextmanager
def engine_for(
    choice: EngineChoice,
    progress: Progress,
    *,
    is_small: Callable[[], bool] = lambda: False,
    assigns: bool = False,
) -> Iterator[Engine]:
    """Yield the engine of a choice, and tell those who watch of the run and its end.

    A StoreError inside becomes a JobError, as something has been written by then.
    """
    progress.start("start")
    with open_engine(
        choice,
        is_small=is_small,
        assigns=assigns,
        warn=lambda scheduler: progress.note(_UNENCRYPTED.format(scheduler)),
    ) as engine:
        progress.finish()
        if engine.dashboard:
            progress.note(f"{engine.place}, dashboard: {engine.dashboard}")
        progress.announce = engine.announce
        # Others may look at a scheduler's page: no message, as it could name a file.
        end: dict[str, Any] = {"kind": "end", "ok": False, "why": "failed"}
        try:
            yield engine
            end = {"kind": "end", "ok": True}
        except KeyboardInterrupt:
            end["why"] = "interrupted"
            raise
        except StoreError as error:
            raise JobError(str(error)) from error
        finally:
            engine.announce(end)


class ResumeHint:
    """Context of a run that notes on its error whether the work is kept, to be resumed later.

    is_kept: called with the error that ends the run; the error gets the answer as `resumable`
    """

    def __init__(self, is_kept: Callable[[BaseException], bool] = lambda error: False) -> None:
        self.is_kept = is_kept

    def __enter__(self) -> ResumeHint:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            vars(error)["resumable"] = self.is_kept(error)


def is_small_job(
    plan: Plan, decode: DecodeSettings | None = None, encode: EncodeSettings | None = None
) -> Callable[[], bool]:
    """Return a function that tells whether this process does a job sooner than workers would.

    decode: settings with which the images are still to be decoded, if they are
    encode: settings with which the images are written, if they are
    """

    def is_for_this_process() -> bool:
        is_little = is_small(plan) and (encode is None or is_quick(encode))
        return is_little and (decode is None or is_safe(plan, decode))

    return is_for_this_process
