"""Figures of a store: its images, colours, palettes and size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from kmeans_dask.files import Location
from kmeans_dask.files.atomic_files import bytes_below
from kmeans_dask.job.fit_result import read_fit
from kmeans_dask.store import Store
from kmeans_dask.store.tally import Tally


@dataclass(frozen=True)
class Info:
    """Figures of a store: its images, colours, palettes and size.

    partitions, of_partitions: number of partitions that are written, and of those planned
    tally, distinct_colors: None while the store is unfinished
    palettes: figures of each fit, the latest last
    n_bytes: bytes of all files of the store
    """

    path: str
    format_version: int
    versions: dict[str, str]
    partitions: int
    of_partitions: int
    tally: Tally | None
    distinct_colors: int | None
    palettes: list[dict[str, Any]]
    n_bytes: int


def read_info(path: Location) -> Info:
    """Return the figures of the store at `path`. Raises StoreError where there is none."""
    store = Store.open(path)
    attrs = store.attrs
    counted = store.is_counted
    return Info(
        path=str(path),
        format_version=attrs.format_version,
        versions=attrs.versions,
        partitions=len(store.committed_partitions),
        of_partitions=len(store.partition_ids),
        tally=_tally(store) if counted else None,
        distinct_colors=store.n_colors if counted else None,
        palettes=[read_fit(store, name).as_dict() for name in store.palette_names],
        n_bytes=bytes_below(path),
    )


def _tally(store: Store) -> Tally:
    """Return the tally of the partitions, with the files that failed before ingestion."""
    tally = Tally.read(store)
    return replace(tally, failed=tally.failed + len(store.plan.failures))
