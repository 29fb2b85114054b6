"""Inspector: a separate process that reads headers and decodes images first, and may crash.

    python -m kmeans_dask.images.inspector

The process answers each line of its input, a question about one image, by one line of output; both
are JSON. An image that crashes the process, hangs it or takes too much memory ends no other
process, and is recognised by the end of this one.
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
from kmeans_dask.files import Location, ObjectPath, parse_location
from kmeans_dask.files.object_client import environment
from kmeans_dask.files.object_path import Listed
from kmeans_dask.files.object_status import Status
from kmeans_dask.settings import IMAGE_SECONDS, MAX_PIXELS, DecodeSettings
from kmeans_dask.stopwatch import Stopwatch, pace_of
from kmeans_dask.time_limit import EXIT_CODE, time_limit

_HEADER_CPU = 10  # seconds of processor time for one header: a hundred times what any needs
_HEADER_MEMORY = 1 << 28  # bytes that a header may take, beside the memory of the process itself
_IN_FLIGHT = 64  # questions that are sent ahead; their answers fit into the buffer of a pipe
_START = 150.0  # seconds for the process to start, or for an object store to respond again
_MOST_ANSWER = 1 << 21  # bytes of an answer at most; one with a thumbnail is the largest

Task = Literal["header", "decode", "thumbnail"]


@dataclass(frozen=True)
class Question:
    """Question to an inspector: a task to do with the image at `path`.

    task: read the header, decode the image, or make a thumbnail
    max_pixels: limit on the pixels of the image
    seconds: limit on the time that the task may take
    memory: limit on the data memory of the process while it decodes, bytes; None for no limit
    head: first bytes of a remote object, its size in bytes, and its modification time in
        nanoseconds, where these are known
    size: width and height of the thumbnail, pixels; None for the size that `shrunk` chooses
    """

    task: Task
    path: str
    max_pixels: int = MAX_PIXELS
    seconds: float = IMAGE_SECONDS
    memory: int | None = None
    head: tuple[bytes, int, int] | None = None
    size: tuple[int, int] | None = None

    def to_line(self) -> bytes:
        """Return the question as a line of JSON."""
        fields = {name: value for name, value in vars(self).items() if value is not None}
        if self.head:
            data, n_bytes, modified = self.head
            fields["head"] = [base64.b64encode(data).decode(), n_bytes, modified]
        return json.dumps(fields).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Question:
        """Return the question that a line of JSON from `to_line` holds."""
        fields = json.loads(line)
        if "head" in fields:
            data, n_bytes, modified = fields["head"]
            fields["head"] = base64.b64decode(data), n_bytes, modified
        return cls(**{**fields, "size": tuple(fields["size"]) if "size" in fields else None})


@dataclass(frozen=True)
class Answer:
    """Answer of an inspector to one question.

    size: width and height in pixels, in the header, of the decoded image, or of the thumbnail;
        None where the task failed
    pixel_bytes: bytes of memory for each pixel while the image is decoded, at most; 0 where the
        question was not about a header
    reason: message that says why the task failed; None where it did not
    no_image: whether neither the content nor the name of the file is that of an image
    unreachable: whether an object store could not be reached
    ended: whether the image ended the process, or took more memory than allowed
    webp: the thumbnail as a WebP file
    """

    size: tuple[int, int] | None = None
    pixel_bytes: int = 0
    reason: str | None = None
    no_image: bool = False
    unreachable: bool = False
    ended: bool = False
    webp: bytes = b""

    def to_size(self) -> tuple[int, int]:
        """Return width and height in pixels.

        Raises ImageError, NoImageError or UnreachableError, with the reason, where the task failed.
        """
        if self.size:
            return self.size
        reason = self.reason or "it cannot be read"
        if self.unreachable:
            raise UnreachableError(reason)
        raise NoImageError(reason) if self.no_image else ImageError(reason)


class Inspector:
    """Client of an inspector process, which is started when needed, and again after it has ended.

    Any thread may ask; a thread waits until the answers of another have all been read.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._environment: dict[str, str] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the inspector process ahead of the first question: starting takes a moment."""
        with self._lock:
            self._running()

    def ask(self, questions: Iterable[Question]) -> Iterator[Answer]:
        """Yield the answers in the order of `questions`, of which up to 64 are sent ahead."""
        waiting = iter(questions)
        asked: deque[Question] = deque()
        with self._lock:
            if self._process and self._environment != environment():
                self.close()  # the process has the old credentials
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
                if asked:  # the caller stopped early, so these answers will not be read
                    self.close()

    def ask_one(self, question: Question) -> Answer:
        """Return the answer to one question."""
        [answer] = self.ask([question])
        return answer

    def close(self) -> None:
        """End the inspector process; the next question starts another one."""
        process, self._process, self._unread = self._process, None, b""
        if process:
            process.kill()
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):
                    stream.close()  # type: ignore[union-attr]
            process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._environment = environment()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "kmeans_dask.images.inspector"],
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
        with suppress(BrokenPipeError):  # the process has ended: noticed when an answer is read
            while data:
                data = data[stdin.write(data) :]

    def _receive(self, asked: deque[Question]) -> Answer:
        """Return the answer to the first question in `asked`, and remove that question.

        Where the process has ended, another one is started and given the remaining questions.
        """
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
        """Return one line of the inspector's output, or nothing where no line comes.

        No line comes where the process ends, writes more than an answer can have, or takes longer
        than `seconds`.
        """
        process = self._running()
        assert process.stdout
        pace = pace_of(seconds)
        waited = Stopwatch(pace)  # the time of a suspension does not count
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
        """Return why the inspector process ended, or hangs, while it answered `question`."""
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
    """Start the inspector of this process ahead of the first question."""
    _inspector.start()


def ask(questions: Iterable[Question]) -> Iterator[Answer]:
    """Yield the answers of this process's inspector, in the order of `questions`."""
    return _inspector.ask(questions)


def read_size_safely(path: Location, max_pixels: int) -> tuple[int, int]:
    """Return width and height in pixels from an image's header, read by the inspector.

    The inspector has limits of time and memory. Raises ImageError, NoImageError or
    UnreachableError where the header cannot be read.
    """
    return _inspector.ask_one(Question("header", str(path), max_pixels)).to_size()


def make_thumbnail(path: str, size: tuple[int, int] | None = None) -> tuple[bytes, tuple[int, int]]:
    """Return a thumbnail of the image at `path` as a WebP file, and its width and height in pixels.

    size: width and height of the thumbnail, pixels; None for the size that `shrunk` chooses

    Raises ImageError, NoImageError or UnreachableError where the image cannot be decoded.
    """
    answer = _inspector.ask_one(Question("thumbnail", path, size=size))
    return answer.webp, answer.to_size()


def header_question(path: Location, max_pixels: int, seconds: float) -> Question:
    """Return a question about the header of the image at `path`.

    The question carries the first bytes of a listed object, where these are known.
    """
    head = None
    if isinstance(path, Listed) and path.head:
        status = path.stat()
        head = path.head, status.st_size, status.st_mtime_ns
    return Question("header", str(path), max_pixels, seconds, head=head)


def find_killers(
    paths: Sequence[str], settings: DecodeSettings, memory: int | None = None
) -> dict[str, str]:
    """Return the paths of the images whose decoding ends the inspector process, with the reasons.

    Images whose decoding takes more memory than allowed are included.

    memory: limit on the data memory of the inspector process, bytes; None for no limit
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the process that asks
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
    from kmeans_dask.images.decode import decode
    from kmeans_dask.images.header import read_header

    path = parse_location(question.path)
    if question.head:
        data, n_bytes, modified = question.head
        assert isinstance(path, ObjectPath)
        path = Listed(path, Status(n_bytes, modified), data)
    if question.task == "header":
        header = read_header(path, question.max_pixels)
        return {"size": header.size, "pixel_bytes": header.pixel_bytes}
    decoded = decode(path, question.max_pixels)
    if question.task == "decode":
        return {"size": [decoded.width, decoded.height]}
    from kmeans_dask.images.thumbnail import as_webp, shrunk

    image = shrunk(decoded.image, question.size)
    return {"size": image.size, "webp": base64.b64encode(as_webp(image)).decode()}


def _too_much(question: Question) -> str:
    if question.task == "header":
        return "takes more memory to read its header than any image should: quarantined"
    return "takes more memory to decode than a worker has: quarantined"


@functools.lru_cache(maxsize=2)  # most questions have the same limits as the one before
def _limit(what: int, soft: int | None) -> None:
    hard = resource.getrlimit(what)[1]
    wanted = hard if soft is None else soft
    resource.setrlimit(what, (wanted if hard < 0 or wanted < 0 else min(wanted, hard), hard))


@functools.cache
def _headers_memory() -> int:
    """Return the limit on the data memory of this process while it reads headers, in bytes."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
            own = int(file.read().split()[5]) * resource.getpagesize()
    except OSError:  # not Linux: the process itself hardly takes more than 1 GiB
        own = 1 << 30
    return own + _HEADER_MEMORY


if __name__ == "__main__":
    _main()
