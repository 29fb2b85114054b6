"""Work folder of a job, in its output folder: its settings, its plan, and records of finished work.

    OUTPUT/.kmeans-dask/
      lock                    lock of the running job
      job.json                settings of the job, and whether it is finished; sealed
      plan.json               plan of the images; sealed
      store.zarr              pixels and colours, while the job is running
      done/<stage>/<id>.json  result of a piece of work, and its files; sealed
      attempts-<id>.json      weights of bits that were tried for a total size; sealed
      aside/                  staging: files that are being written
      previews/               thumbnails of large images, while the job is running (see `previews`)

A sealed file begins with a checksum of its content. A killed job leaves all files behind, and is
resumed from them. None of them is trusted: a record counts where all its files are there, with the
checksums that it names. A file that is not in the form written here is ignored; a link is refused.
"""

from __future__ import annotations

import hashlib
import json
import reprlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from kmeans_dask.errors import ImageError, StoreError, UsageError
from kmeans_dask.files import Location
from kmeans_dask.files.atomic_files import (
    clear,
    folders_in,
    names_in,
    read_regular,
    read_sealed,
    remove,
    sealed,
    sweep,
    sync,
    write_file,
    write_sealed,
)
from kmeans_dask.files.documents import Count, DamagedError, Form, Measure, typed
from kmeans_dask.files.locks import held
from kmeans_dask.files.targets import beginning
from kmeans_dask.job.encode_totals import EncodeTotals, Written
from kmeans_dask.job.output_folder import STAGING, below
from kmeans_dask.job.previews import previews_of
from kmeans_dask.plan.changes import compare
from kmeans_dask.plan.output_names import OUR_FILES, WORK_FOLDER
from kmeans_dask.plan.plan import MakePlan, Plan
from kmeans_dask.store.records import MAX_IMAGES, PLAN

_JOB = Form(dict[str, Any], 1 << 22)  # bytes of the settings, with a palette, at most
_MOST = 1 << 200  # a bound that no sum of squared errors reaches
_LOCK = "lock"
_VERSIONS_OF = ("kmeans-dask", "numpy", "numba", "pillow", "deflate", "zarr")


@dataclass(frozen=True)
class _Record(EncodeTotals):
    """Record of a piece of work: its result, and a digest of all that the result depends on.

    of: the digest; None where there is none

    Raises ValueError where numbers of the result contradict each other.
    """

    of: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.squared_error < _MOST or (self.squared_error and not self.pixels):
            raise ValueError("its error is none")
        if not 0 <= self.palette_error < _MOST:
            raise ValueError("its palette's error is none")
        if self.images and not min(self.input_bytes, self.output_bytes):
            raise ValueError("its images have no bytes")
        if self.images != len(self.gallery.rows) + self.gallery.left_out:
            raise ValueError("its images are not those of its gallery")

    @property
    def encoded(self) -> EncodeTotals:
        """Return the result without the digest."""
        return EncodeTotals(
            **{each.name: getattr(self, each.name) for each in fields(EncodeTotals)}
        )


_RECORD = Form(_Record, MAX_IMAGES << 16)


class Attempt(NamedTuple):
    """Attempt to compress all images with a weight of bits.

    of_colors: weight that the numbers of colours were chosen with
    n_bytes: bytes of all images
    """

    weight: Measure
    of_colors: Measure
    n_bytes: Count


_ATTEMPTS = Form(tuple[Attempt, ...], 1 << 16)


@dataclass(frozen=True)
class Attempts:
    """File of the attempts that a job has made, so that none is made again by one that resumes."""

    path: Location

    def read(self) -> tuple[Attempt, ...]:
        """Return all attempts; none where the file is missing or damaged."""
        try:
            return read_sealed(self.path, _ATTEMPTS)
        except (OSError, DamagedError):
            return ()

    def add(self, attempt: Attempt) -> None:
        """Add an attempt to the file."""
        write_sealed(self.path, [*self.read(), attempt], _ATTEMPTS)


class WorkFolder:
    """Work folder of one job, which `open_work_folder` has locked for this run.

    output: output folder of the job
    is_fresh: whether there is nothing to resume
    was_cleared: whether this run has removed what was in the folder
    path: the work folder itself
    store_path: absolute path of the store of the job
    """

    def __init__(self, output: Location, asked: Mapping[str, Any]) -> None:
        self.output = output
        self.is_fresh, self.was_cleared = True, False
        self._asked = asked
        self.path = output / WORK_FOLDER
        self.store_path = self.path.absolute() / "store.zarr"  # workers run in other folders

    @property
    def job(self) -> dict[str, Any] | None:
        """Return the settings of the job in the folder, with one more field, `finished`.

        `finished` is False, or the files of the job itself (name, size and CRC-32 of each). Return
        None where there is no job, or it cannot be read.
        """
        try:
            job = read_sealed(self.path / "job.json", _JOB)
            job["finished"] = typed(job.get("finished"), bool | tuple[Written, ...])
        except (OSError, DamagedError):
            return None
        return None if job["finished"] is True else job

    def begin(self, plan: Plan | None = None) -> None:
        """Begin the job with nothing done, or keep what is done where there is a job to resume.

        plan: the plan to write, for a job that begins
        """
        if not self.is_fresh:
            (self.output / STAGING).mkdir(exist_ok=True)
            return
        planned = sealed(plan.as_record(), PLAN) if plan else None  # can raise: before any removal
        with beginning(str(self.output)):
            clear(self.path, _LOCK)
            self.was_cleared = True
            write_sealed(self.path / "job.json", {**self._asked, "finished": False}, _JOB)
            if planned:
                write_file(self.path / "plan.json", planned)
            (self.output / STAGING).mkdir(exist_ok=True)
        self.is_fresh = False

    @property
    def is_kept(self) -> bool:
        """Return whether there is something that a later run can resume."""
        return self.was_cleared or not self.is_fresh

    def sweep(self) -> None:
        """Remove temporary files, which a killed run has left half-written."""
        for folder in (self.output, self.path, *self._records):
            if folder.is_dir():
                sweep(folder)

    @property
    def _records(self) -> list[Location]:
        """Return the folders that may hold records."""
        done = self.path / "done"
        return [done, *folders_in(done)]

    def settle(self, make_plan: MakePlan) -> Plan:
        """Return a new plan, or that of the run to resume.

        Raises UsageError where the two differ.
        """
        if self.is_fresh:
            return make_plan({})
        try:
            before = Plan.of_record(read_sealed(self.path / "plan.json", PLAN))
        except (OSError, DamagedError, StoreError):
            self.is_fresh = True  # nobody knows which images the records are about
            return make_plan({})
        plan = make_plan({source.path: source for source in before.sources})
        changes = compare(before, plan)
        if changes or before.inputs != plan.inputs:
            what = f"the images have changed: {changes}" if changes else "the inputs are others"
            raise UsageError(
                f"{self.output} cannot be resumed, {what}; add --overwrite to begin again"
            )
        if before.n_images != plan.n_images:  # a crafted plan: `before` has images besides these
            self.is_fresh = True
            return plan
        return before

    def stage(self, name: str, *identity: Any) -> Location:
        """Return the folder for the records of the stage `name`.

        identity: all that the stage depends on; with another identity, the folder is another one
        """
        return self.path / "done" / f"{name}-{_digest(identity)[:16]}"

    def attempts(self, *identity: Any) -> Attempts:
        """Return the file of attempts that depend on `identity`."""
        return Attempts(self.path / f"attempts-{_digest(identity)[:16]}.json")

    def read_folder(self, folder: str) -> EncodeTotals | None:
        """Return the totals of a folder with its own palette; None unless all files are intact."""
        stage = self.stage("folder", folder)
        found = _read(stage.with_suffix(".json"))
        whole = found and _is_intact(found, self.output) and stage_is_intact(stage, self.output)
        return found.without_files() if found and whole else None

    def write_folder(self, folder: str, encoded: EncodeTotals) -> None:
        """Write the record of a folder with its own palette; its partitions have records, too."""
        record = self.stage("folder", folder).with_suffix(".json")
        write_sealed(record, encoded.as_record(), _RECORD)

    @property
    def is_finished(self) -> bool:
        """Return whether an earlier run has finished the job, and all its files are intact."""
        job = self.job
        files = job["finished"] if job else None
        return (
            isinstance(files, tuple)
            and _are_intact(files, self.output)
            and all(stage_is_intact(stage, self.output) for stage in self._records)
        )

    def finish(self) -> None:
        """Mark the job as finished, and remove the files that only a running job needs.

        The output is synced to the disk first, so that a finished job survives a power cut.
        """
        remove(self.store_path)  # before the sync, which would wait for all its pixels
        sync(self.output)
        paths = {name: self.output / name for name in OUR_FILES}
        files = {name: path.read_bytes() for name, path in paths.items() if path.is_file()}
        written = [(name, len(data), zlib.crc32(data)) for name, data in files.items()]
        write_sealed(self.path / "job.json", {**self._asked, "finished": written}, _JOB)
        remove(self.output / STAGING)
        if isinstance(self.output, Path):  # an object store has no previews
            remove(previews_of(self.output))


def asked_for(command: str, **settings: Any) -> dict[str, Any]:
    """Return all that a result depends on: the command, its settings, and versions of packages."""
    versions = {name: metadata.version(name) for name in _VERSIONS_OF}
    asked = {"command": command, **settings, "versions": versions}
    comparable: dict[str, Any] = json.loads(json.dumps(asked, default=_plain))
    return comparable


@contextmanager
def open_work_folder(
    output: Location, asked: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> Iterator[WorkFolder]:
    """Lock the work folder in `output`, to begin a job, or with `resume` to continue one.

    asked: all that the result depends on, from `asked_for`
    resume: continue the job in the folder, where there is one
    overwrite: begin again, whatever is in the folder

    Raises UsageError where another run holds the lock; where the folder has a job or other files,
    and neither option is given; or where the job to resume depends on something else than `asked`.
    """
    with beginning(str(output)):
        if output.exists() and not output.is_dir():
            raise UsageError(f"{output} is a file: name a folder to write to")
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other: leave one out")
    work = WorkFolder(output, asked)
    if work.path.is_symlink():
        raise UsageError(f"{work.path} is a link: remove it")
    with held(work.path, _LOCK, str(output)):
        work.is_fresh = not _goes_on(work, asked, resume=resume, overwrite=overwrite)
        try:
            yield work
        except UsageError:  # a user who reads this error expects that nothing was written
            if work.was_cleared:
                clear(work.path, _LOCK)
            raise


def _goes_on(work: WorkFolder, asked: Mapping[str, Any], *, resume: bool, overwrite: bool) -> bool:
    """Return whether there is a job to resume.

    Raises UsageError where `output` cannot be resumed, or must not be written to without an option.
    """
    job = work.job
    others = sorted(names_in(work.output) - {WORK_FOLDER})
    if resume and job:
        for folder in (work.path, work.path / "done"):
            for name in names_in(folder) if folder.is_dir() else ():
                if (folder / name).is_symlink():  # writing or removing would follow it
                    raise UsageError(f"{folder / name} is a link: remove it")
        differences = _differences(job, asked)
        if differences:
            raise UsageError(
                f"{work.output} cannot be resumed, {differences}; ask for the same again, or "
                "add --overwrite to begin again"
            )
        work.sweep()
        return True
    if not overwrite:
        if job and job["finished"] is False:
            raise UsageError(
                f"{work.output} is unfinished: add --resume to continue it, or --overwrite to "
                "begin again"
            )
        if job:
            raise UsageError(
                f"{work.output} holds a finished job: add --resume to write what is new, or "
                "--overwrite to begin again"
            )
        if others:
            raise UsageError(
                f"{work.output} is not empty: name another folder, or add --overwrite to write "
                "into it"
            )
    return False


def _differences(job: Mapping[str, Any], asked: Mapping[str, Any], name: str = "") -> str:
    """Return in words how `asked` differs from `job`; an empty text where it does not.

    name: beginning of the names of all settings
    """
    found = []
    for key in sorted({*job, *asked} - {"finished"}):
        before, now = job.get(key), asked.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            found.append(_differences(before, now, f"{key} "))
        elif before != now:
            said = f"{name}{key} was {_brief(before)} and is {_brief(now)}"
            found.append(said.replace("_", " "))
    return ", ".join(each for each in found if each)


def _brief(value: Any) -> Any:
    return reprlib.repr(value) if isinstance(value, list | dict) else value


def recorded(
    record: Location, output: Location, of: Any, do: Callable[[], EncodeTotals]
) -> EncodeTotals:
    """Return the recorded result of `do`, or call `do` and record its result.

    A record counts where it is about the same `of`, and all its files are intact. The returned
    totals have no list of files, which may be a million.

    of: all that the result of `do` depends on
    """
    digest = _digest(of)
    found = _read(record, digest)
    if found is None or not _is_intact(found, output):
        found = do()
        write_sealed(record, {"of": digest, **found.as_record()}, _RECORD)
    return found.without_files()


def stage_is_intact(stage: Location, output: Location) -> bool:
    """Return whether all records of a stage can be read, and all their files are intact."""
    names = sorted(names_in(stage)) if stage.is_dir() else []
    found = [_read(stage / name) for name in names if name.endswith(".json")]
    return all(each is not None and _is_intact(each, output) for each in found)


def _read(record: Location, of: str | None = None) -> EncodeTotals | None:
    try:
        found = read_sealed(record, _RECORD)
    except (OSError, DamagedError):
        return None
    return found.encoded if of in (None, found.of) else None


def _digest(identity: Any) -> str:
    text = json.dumps(identity, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def _is_intact(encoded: EncodeTotals, output: Location) -> bool:
    return _are_intact(encoded.files, output)


def _are_intact(files: Iterable[Written], output: Location) -> bool:
    for name, size, checksum in files:
        try:
            path = below(output, name)
            data = None if path.is_symlink() else read_regular(path, size)
            if data is None or (len(data), zlib.crc32(data)) != (size, checksum):
                return False
        except (OSError, StoreError, ImageError, ValueError):
            return False
    return True
