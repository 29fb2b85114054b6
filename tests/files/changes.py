"""Changes of the answers of an object store, and requests that meet them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kmeans_dask.files import ObjectPath, retries
from kmeans_dask.files.locks import locked
from tests.files.server import Answer, Change, Cut, Request

FAILS = 9  # failures in a row: more than obstore itself retries
SHORT = replace(
    retries.RETRY_POLICY, outage=60.0, first=0.001, longest=0.01, quiet=1000.0, answer=60.0
)
SOON = replace(SHORT, outage=0.2)  # for tests of what never recovers


def cut(request: Request, answer: Answer) -> Answer:
    """Cut the answer off after half of its body, or within its headers where it has none."""
    return replace(answer, whole=False)


def status(code: int) -> Change:
    return lambda request, answer: Answer(code, {}, b"<Error><Code>SlowDown</Code></Error>")


def gone(request: Request, answer: Answer) -> Answer:
    """Cut the connection after the server has done what was asked."""
    raise Cut


def at_first(change: Change, seen: list[Request], fails: int = FAILS) -> Change:
    """Return a change of the first `fails` answers, whose requests are appended to `seen`."""

    def perhaps(request: Request, answer: Answer) -> Answer:
        if len(seen) >= fails:
            return answer
        seen.append(request)
        return change(request, answer)

    return perhaps


def list_names(path: ObjectPath) -> list[str]:
    return [each.name for each in path.walk()]


def read_ranges(path: ObjectPath) -> bytes:
    with path.open() as file:
        file.seek(70_000)
        return file.read(10)


def hold(path: ObjectPath) -> bool:
    with locked(path / "lock", "photos"):
        return True


DATA = bytes(range(256)) * 400
ASKS: dict[str, tuple[Callable[[ObjectPath], object], object]] = {
    "read": (lambda top: (top / "a").read_bytes(), DATA),
    "read of at most": (lambda top: (top / "a").read_at_most(1 << 20), DATA),
    "ranges": (lambda top: read_ranges(top / "a"), DATA[70_000:70_010]),
    "status": (lambda top: (top / "a").stat().st_size, len(DATA)),
    "is there": (lambda top: top.is_dir(), True),
    "list": (list_names, ["a", "b", "c", "d", "e"]),
    "names": (lambda top: [each.name for each in top.iterdir()], ["a", "b", "c", "d", "e"]),
    "write": (lambda top: (top / "new").write_bytes(DATA), len(DATA)),
    "large write": (lambda top: (top / "new").write_bytes(DATA * 120), 120 * len(DATA)),
    "delete": (lambda top: (top / "a").unlink(missing_ok=True), None),
    "delete all": (lambda top: top.remove_all(), None),
    "copy": (lambda top: (top / "a").copy_to(top / "z"), None),
    "lock": (hold, True),
}
