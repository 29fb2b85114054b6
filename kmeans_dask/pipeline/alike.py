"""Names in the output that its file system would take for one: those that differ only in case."""

from __future__ import annotations

import shutil
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path, PurePosixPath

from kmeans_dask.errors import UsageError
from kmeans_dask.pipeline.plan import OUR_FILES, PALETTE_FILE, Plan, names_of
from kmeans_dask.pipeline.write import below
from kmeans_dask.storage import Place, Remote
from kmeans_dask.store import Store


def names_of_plan(plan: Plan) -> Iterator[str]:
    """All that the images of `plan` may be called in the output."""
    for source in plan.sources:
        yield from names_of(source.kept_as, source.stem)


def names_of_store(store: Store) -> Iterator[str]:
    """All that the images of `store` may be called in the output."""
    for partition_id in store.partition_ids:
        for image in store.partition(partition_id).images:
            yield from names_of(image["kept_as"], image["stem"])


def refuse_alike(names: Iterable[str], output: Place) -> None:
    """Raise UsageError where two of `names` would be one file in `output`.

    Only a try can tell, as case is a matter of folders on some systems. So where names might be
    taken for one, they are made in a folder beside, which is removed again.
    """
    if isinstance(output, Remote):
        return  # every name is its own there
    alike: dict[str, set[str]] = defaultdict(set)
    folders = set()
    for name in chain(names, OUR_FILES):
        alike[_folded(name)].add(name)
        folders.add(name.rpartition("/")[0])
    for folder in folders:
        name = str(PurePosixPath(folder, PALETTE_FILE))
        alike[_folded(name)].add(name)
    doubtful = [sorted(group) for group in alike.values() if len(group) > 1]
    if not doubtful:
        return
    there = next(folder for folder in (output, *output.absolute().parents) if folder.is_dir())
    try:
        trial = Path(tempfile.mkdtemp(prefix=".kmeans-dask-", dir=there))
    except OSError:  # then the job cannot write either, and says so
        return
    try:
        for group in doubtful:
            for name in group:
                path = below(trial, name)
                assert isinstance(path, Path)
                if not _claim(path):
                    raise UsageError(
                        f"{' and '.join(group)} are one name to the file system of {output}: "
                        "rename all but one, or choose another OUTPUT"
                    )
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _folded(name: str) -> str:
    """The same for all names that any file system takes for one."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _claim(path: Path) -> bool:
    """Make the file; whether its name was free."""
    with suppress(OSError):  # too long, say: that is its own failure
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
    return True
