"""A process that can be spared looks at images first: at their headers, and how they decode.

    python -m kmeans_dask.imaging.inspector

answers each line of its input, a question about one image, by a line: both are JSON. A file that
crashes it, hangs it or takes too much memory costs this process, and is known by its death.
"""

from __future__ import annotations

import atexit
import base64
import functools
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from kmeans_dask.errors import ImageError, NoImageError, UnreachableError
from kmeans_dask.settings import IMAGE_SECONDS, MAX_PIXELS, DecodeSettings
from kmeans_dask.stopwatch import Stopwatch, pace_of
from kmeans_dask.storage import Place, Remote, place_of
from kmeans_dask.storage.remote import Listed, Status
from kmeans_dask.watchdog import EXIT_CODE, time_limit

_HEADER_CPU = 10  # seconds of processor time that a header may take: a hundred times what any does
_HEADER_MEMORY = 1 << 28  # bytes that it may take beside the process itself
_IN_FLIGHT = 64  # questions that are sent ahead; their answers fit into a pipe
_START = 150.0  # seconds for a process to begin, or an object store to come back
_MOST_ANSWER = 1 << 21  # bytes of an answer: a thumbnail is the largest

Task = Literal["header", "decode", "thumbnail"]


@dataclass(frozen=True)
class Question:
    """A task that an inspector does with the image at `path`.

    seconds: that it may take; memory: bytes that decoding may take, None for as many as there are
    head: the first bytes of an object, with its size and time of change, where they are at hand
    size: that a thumbnail is brought to
    """

    task: Task
    path: str
    max_pixels: int = MAX_PIXELS
    seconds: float = IMAGE_SECONDS
    memory: int | None = None
    head: tuple[bytes, int, int] | None = None
    size: tuple[int, int] | None = None

    def to_line(self) -> bytes:
        """The question as a line of JSON."""
        fields = {name: value for name, value in vars(self).items() if value is not None}
        if self.head:
            data, n_bytes, modified = self.head
            fields["head"] = [base64.b64encode(data).decode(), n_bytes, modified]
        return json.dumps(fields).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Question:
        """The question of a line."""
        fields = json.loads(line)
        if "head" in fields:
            data, n_bytes, modified = fields["head"]
            fields["head"] = base64.b64decode(data), n_bytes, modified
        return cls(**{**fields, "size": tuple(fields["size"]) if "size" in fields else None})


@dataclass(frozen=True)
class Answer:
    """The result of a question.

    size: width and height, in pixels, as the header has them, or of a thumbnail
    pixel_bytes: memory of a pixel while the image is decoded, at most
    reason: why there is none; no_image: whether the file neither is nor is called an image
    ended: whether the process was ended by the image
    webp: a thumbnail
    """

    size: tuple[int, int] | None = None
    pixel_bytes: int = 0
    reason: str | None = None
    no_image: bool = False
    unreachable: bool = False
    ended: bool = False
    webp: bytes = b""

    def to_size(self) -> tuple[int, int]:
        """The size. Raises ImageError, NoImageError or UnreachableError where there is none."""
        if self.size:
            return self.size
        reason = self.reason or "it cannot be read"
        if self.unreachable:
            raise UnreachableError(reason)
        raise NoImageError(reason) if self.no_image else ImageError(reason)


def _credentials() -> dict[str, str]:
    """What the environment says about object stores, which a notebook may change at any time."""
    named = ("AWS_", "AZURE_", "GOOGLE_", "HOME")
    return {name: value for name, value in os.environ.items() if name.startswith(named)}


class Inspector:
    """Asks a process that can be spared; another one where it has died. Any thread may ask."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._environment: dict[str, str] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the process now: it takes a moment until it can answer."""
        with self._lock:
            self._running()

    def ask(self, questions: Iterable[Question]) -> Iterator[Answer]:
        """Answers, in the order of `questions`, of which some are sent ahead."""
        waiting = iter(questions)
        asked: deque[Question] = deque()
        with self._lock:
            if self._process and self._environment != _credentials():
                self.close()  # it has those that the environment said before
            try:
                while True:
                    fresh = list(islice(waiting, _IN_FLIGHT - len(asked)))
                    asked.extend(fresh)
                    if not asked:
                        return
                    self._send(fresh)
                    yield self._receive(asked)
                    while asked and b"\n" in self._unread:
                        yield self._receive(asked)
            finally:
                if asked:  # nobody waits for these answers any more
                    self.close()

    def ask_one(self, question: Question) -> Answer:
        """The answer to one question."""
        [answer] = self.ask([question])
        return answer

    def close(self) -> None:
        """End the process; the next question starts another one."""
        process, self._process, self._unread = self._process, None, b""
        if process:
            process.kill()
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):
                    stream.close()  # type: ignore[union-attr]
            process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._environment = _credentials()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "kmeans_dask.imaging.inspector"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            )
            self._unread = b""
        return self._process

    def _send(self, questions: Sequence[Question]) -> None:
        stdin = self._running().stdin
        assert stdin
        data = memoryview(b"".join(question.to_line() for question in questions))
        with suppress(BrokenPipeError):  # its death is noticed when the answer is read
            while data:
                data = data[stdin.write(data) :]

    def _receive(self, asked: deque[Question]) -> Answer:
        """The answer to the first of the questions, which is taken off."""
        question = asked.popleft()
        line = self._read_line(question.seconds + _START)
        if line:
            fields = json.loads(line)
            if fields.get("size"):
                fields["size"] = tuple(fields["size"])
            return Answer(**{**fields, "webp": base64.b64decode(fields.get("webp", ""))})
        reason = self._reason(question)
        self.close()
        self._send(asked)
        return Answer(reason=reason, ended=True)

    def _read_line(self, seconds: float) -> bytes:
        """A line of answer; nothing where the process dies, or says nothing for so long."""
        process = self._running()
        assert process.stdout
        pace = pace_of(seconds)
        waited = Stopwatch(pace)  # a job that is suspended has not waited
        while b"\n" not in self._unread:
            ready, _, _ = select.select([process.stdout], [], [], pace)
            if ready:
                data = os.read(process.stdout.fileno(), 1 << 16)
                if not data or len(self._unread) > _MOST_ANSWER:
                    return b""
                self._unread += data
            if waited.read() > seconds and b"\n" not in self._unread:
                return b""
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _reason(self, question: Question) -> str:
        """Why the process has ended, or is as good as ended."""
        process = self._running()
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
        code = process.poll()
        what = "read its header" if question.task == "header" else "decode"
        if code is None or code == EXIT_CODE:
            return (
                f"takes longer than {question.seconds:g} s to {what}: quarantined; --image-timeout "
                "allows more"
            )
        if code == -signal.SIGXCPU:
            return f"takes more than {_HEADER_CPU} s of a processor to {what}: quarantined"
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        whose = "reads its header" if question.task == "header" else "decodes it"
        return f"ends the process that {whose} ({how}): quarantined"


_inspector = Inspector()
atexit.register(_inspector.close)


def start() -> None:
    """Start this process's inspector, which is soon needed."""
    _inspector.start()


def ask(questions: Iterable[Question]) -> Iterator[Answer]:
    """Answers of this process's inspector, in order."""
    return _inspector.ask(questions)


def read_size_safely(path: Place, max_pixels: int) -> tuple[int, int]:
    """Width and height by a file's header, within limits of time and memory. Raises ImageError."""
    return _inspector.ask_one(Question("header", str(path), max_pixels)).to_size()


def make_thumbnail(path: str, size: tuple[int, int] | None = None) -> tuple[bytes, tuple[int, int]]:
    """A WebP file of the image at `path`, made small, and its width and height.

    size: that it is brought to. Raises ImageError.
    """
    answer = _inspector.ask_one(Question("thumbnail", path, size=size))
    return answer.webp, answer.to_size()


def header_question(path: Place, max_pixels: int, seconds: float) -> Question:
    """A question about an image's header; about a listed object's, with its first bytes."""
    head = None
    if isinstance(path, Listed) and path.head:
        status = path.stat()
        head = path.head, status.st_size, status.st_mtime_ns
    return Question("header", str(path), max_pixels, seconds, head=head)


def find_killers(
    paths: Sequence[str], settings: DecodeSettings, memory: int | None = None
) -> dict[str, str]:
    """Find images whose decoding ends its process; returns their paths with the reasons.

    memory: bytes that a process may take; None for as many as there are
    """
    questions = (
        Question("decode", path, settings.max_pixels, settings.seconds, memory) for path in paths
    )
    return {
        path: answer.reason
        for path, answer in zip(paths, ask(questions), strict=True)
        if answer.ended and answer.reason
    }


# -- the process itself -----------------------------------------------------------------------


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asks
    for line in iter(sys.stdin.buffer.readline, b""):
        answer = _answer(Question.from_line(line))
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _answer(question: Question) -> dict[str, Any]:
    memory, cpu = question.memory, None
    if question.task == "header":
        memory = _headers_memory()
        cpu = int(time.process_time()) + _HEADER_CPU + 1
    _limit(resource.RLIMIT_DATA, memory)
    _limit(resource.RLIMIT_CPU, cpu)
    try:
        with time_limit(question.seconds):
            return _do(question)
    except UnreachableError as error:
        return {"reason": str(error), "unreachable": True}
    except (ImageError, OSError) as error:
        if isinstance(error.__cause__, MemoryError):
            return {"reason": _too_much(question), "ended": True}
        reason = getattr(error, "strerror", None) or str(error)
        return {"reason": reason, "no_image": isinstance(error, NoImageError)}
    except MemoryError:
        return {"reason": _too_much(question), "ended": True}


def _do(question: Question) -> dict[str, Any]:
    from kmeans_dask.imaging.decode import decode, read_header

    path = place_of(question.path)
    if question.head:
        data, n_bytes, modified = question.head
        assert isinstance(path, Remote)
        path = Listed(path, Status(n_bytes, modified), data)
    if question.task == "header":
        header = read_header(path, question.max_pixels)
        return {"size": header.size, "pixel_bytes": header.pixel_bytes}
    decoded = decode(path, question.max_pixels)
    if question.task == "decode":
        return {"size": [decoded.width, decoded.height]}
    from kmeans_dask.imaging.thumbnail import as_webp, shrunk

    image = shrunk(decoded.image, question.size)
    return {"size": image.size, "webp": base64.b64encode(as_webp(image)).decode()}


def _too_much(question: Question) -> str:
    if question.task == "header":
        return "takes more memory to read its header than any image should: quarantined"
    return "takes more memory to decode than a worker has: quarantined"


@functools.lru_cache(maxsize=2)  # most questions have the limits of those before them
def _limit(what: int, soft: int | None) -> None:
    hard = resource.getrlimit(what)[1]
    wanted = hard if soft is None else soft
    resource.setrlimit(what, (wanted if hard < 0 or wanted < 0 else min(wanted, hard), hard))


@functools.cache
def _headers_memory() -> int:
    """Bytes of data that this process may have while it reads headers."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
            own = int(file.read().split()[5]) * resource.getpagesize()
    except OSError:  # not Linux: then it is hardly more than that
        own = 1 << 30
    return own + _HEADER_MEMORY


if __name__ == "__main__":
    _main()
