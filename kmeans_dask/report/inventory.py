"""Inventory of a store: all that its report shows."""

from __future__ import annotations

from dataclasses import dataclass

from kmeans_dask.files import Location
from kmeans_dask.job.fit_result import FitResult, read_fit
from kmeans_dask.job.gallery import Cloud
from kmeans_dask.steps.encode import in_order, sample_cloud
from kmeans_dask.steps.store_info import Info, read_info
from kmeans_dask.store import Store
from kmeans_dask.store.records import Failure


@dataclass(frozen=True)
class Inventory:
    """Inventory of a store: its figures, failures, palettes, and a sample of its pixels.

    inputs: files and folders that were searched
    skipped: number of files in the inputs that were passed over
    keep_metadata: whether the store keeps metadata of the images
    fits: palettes of the store, first the one to show, then the others, the latest first
    cloud: sample of pixels, and the colours that they get with the first palette of `fits`
    """

    info: Info
    inputs: tuple[str, ...]
    skipped: int
    keep_metadata: bool
    failures: tuple[Failure, ...]
    fits: tuple[FitResult, ...]
    cloud: Cloud


def take_inventory(path: Location, name: str | None = None) -> Inventory:
    """Return the inventory of the store at `path`.

    name: name of the palette to show first; None for the one fitted last, if there is any

    Raises StoreError where the store is damaged or incomplete, or has no palette `name`.
    """
    store = Store.open(path)
    store.require_whole()
    names = store.palette_names[::-1]
    first = [read_fit(store, name)] if names or name else []
    others = [read_fit(store, each) for each in names if each != first[0].name]
    plan = store.plan
    failures = [*plan.failures]
    for partition_id in store.partition_ids:
        failures += store.partition(partition_id).failures
    return Inventory(
        info=read_info(path),
        inputs=plan.inputs,
        skipped=sum(plan.skipped.values()),
        keep_metadata=store.attrs.decode.keep_metadata,
        failures=in_order(failures),
        fits=(*first, *others),
        cloud=sample_cloud(path, first[0]) if first else (),
    )
