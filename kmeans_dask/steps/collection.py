"""Collection: a store, new or not, and the plan of the images that it is to hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from kmeans_dask.engine import Engine
from kmeans_dask.errors import StoreError, UsageError
from kmeans_dask.files import Location
from kmeans_dask.files.atomic_files import clear, remove
from kmeans_dask.files.locks import held
from kmeans_dask.files.targets import beginning
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.summary import IngestSummary
from kmeans_dask.plan.changes import Changes, compare, grown
from kmeans_dask.plan.plan import MakePlan, Plan, Source
from kmeans_dask.settings import DecodeSettings
from kmeans_dask.steps.count import count
from kmeans_dask.steps.ingest import ingest
from kmeans_dask.store import Store


@dataclass(frozen=True)
class Collection:
    """Store that only this run writes to, with the plan of its images.

    plan: images that the store is to hold
    settings: settings with which its images are decoded
    changes: changes of its images since an earlier run
    """

    store: Store
    plan: Plan
    settings: DecodeSettings
    changes: Changes


@contextmanager
def open_collection(
    path: Location, make_plan: MakePlan, settings: DecodeSettings, *, resume: bool
) -> Iterator[Collection]:
    """Yield the store at `path`, locked, for the images of a plan; make it where there is none.

    The store keeps the images that it has. Raises UsageError where another run has locked it,
    where it was made with other settings, or where it is unfinished and `resume` is False.
    """
    lock = Store.lock_file(path).name
    with held(path, lock, str(path)):
        is_new = not Store.is_at(path)
        try:
            known: dict[str, Source] = {}
            if not is_new:
                before = Store.open(path)
                _refuse_other_settings(before, settings)
                if not (resume or is_whole(before)):
                    raise UsageError(f"{path} is unfinished: add --resume to continue it")
                known = {source.path: source for source in Plan.of_record(before.plan).sources}
            plan = make_plan(known)
            with beginning(str(path)) if is_new else nullcontext():
                collection = open_or_create(path, plan, settings)
            yield collection
        except UsageError:  # which promises that nothing was written
            if is_new:
                clear(path, lock)
            raise


def open_or_create(path: Location, plan: Plan, settings: DecodeSettings) -> Collection:
    """Return the store at `path` for the images of `plan`; make it where there is none."""
    path = path.absolute()  # workers run in other folders
    if not Store.is_at(path):
        store = Store.create(path, plan.as_record(), settings.of_result)
        return Collection(store, plan, settings, Changes())
    store = Store.open(path)
    store.remove_unplanned()  # before new partitions get the same names
    before = Plan.of_record(store.plan)
    if is_whole(store):
        before = replace(before, settled=before.first_free)
    changes = compare(before, plan)
    after = grown(before, plan, changes) if changes else before
    if changes or not store.is_planned_twice:
        store.write_plan(after.as_record())
    store.remove_unplanned()
    return Collection(store, after, settings, changes)


def recreate(path: Location, plan: Plan, settings: DecodeSettings) -> Collection:
    """Open the temporary store at `path`, or replace one that is damaged or has other images."""
    try:
        if Store.is_at(path) and Plan.of_record(Store.open(path).plan) == plan:
            return open_or_create(path, plan, settings)
    except StoreError:
        pass
    remove(path)
    return open_or_create(path, plan, settings)


def is_whole(store: Store) -> bool:
    """Return whether the ingestion of a store is finished."""
    return not store.missing_partitions and store.is_counted


def ingest_and_count(
    collection: Collection, engine: Engine, progress: Progress, previews: Path | None = None
) -> IngestSummary:
    """Decode the images that the store lacks, and merge the histograms of its partitions.

    previews: folder for previews of large images, or None
    """
    store, plan, settings = collection.store, collection.plan, collection.settings
    failures = [*plan.failures, *ingest(plan, store, engine, progress, settings, previews)]
    tally = count(store, engine, progress)
    return IngestSummary(
        store,
        plan,
        tally,
        store.n_colors,
        tuple(sorted(failures, key=lambda failure: failure.path)),
        collection.changes,
        dict(progress.seconds),
    )


def _refuse_other_settings(store: Store, settings: DecodeSettings) -> None:
    then, now = store.attrs.decode, settings.of_result
    for name in then.__struct_fields__:
        before, after = getattr(then, name), getattr(now, name)
        if before != after:
            raise UsageError(
                f"{store.path} was ingested with {name.replace('_', ' ')} {before}, now it is "
                f"{after}: ask for the same, or make another store"
            )
