"""Checks made before a job starts, so that it harms no files and does not fail half-way."""

from __future__ import annotations

from collections.abc import Sequence

from kmeans_dask.errors import UsageError
from kmeans_dask.files import Location, is_within, parse_location
from kmeans_dask.job.fit_result import FitResult
from kmeans_dask.job.job_settings import check_palette
from kmeans_dask.plan.plan import Plan, real_place
from kmeans_dask.settings import EncodeSettings, check_together
from kmeans_dask.store import Store


def check_store_path(inputs: Sequence[Location], path: Location) -> None:
    """Raise UsageError where `path` is neither a store nor free for one, or overlaps an input."""
    check_outside(inputs, path, "the store")
    if not Store.is_free(path) and not Store.is_at(path):
        raise UsageError(f"{path} exists and is no store: choose another path, or remove it first")


def check_encoding(store: Store, fitted: FitResult, settings: EncodeSettings) -> None:
    """Raise UsageError where `settings` do not suit the fit, its palette or the store."""
    check_together(fitted.settings, settings)
    check_palette(fitted.palette, settings)
    if settings.keep_metadata and not store.attrs.decode.keep_metadata:
        raise UsageError(f"{store.path} was ingested without --keep-metadata: ingest it again")


def check_partitions(store: Store) -> None:
    """Raise StoreError where a partition of `store` is damaged or crafted.

    The store may come from anyone. Only the documents of its partitions are read, not the pixels.
    """
    for partition_id in store.partition_ids:
        store.partition(partition_id)


def check_originals(plan: Plan, output: Location) -> None:
    """Raise UsageError where a link leads from an image of `plan` to a file below `output`."""
    resolved = output.resolve()
    inside: dict[Location, bool] = {}  # by folder: all images in it that are no links
    for source in plan.sources:
        path = parse_location(source.path)
        if path.is_symlink():
            leads = is_within(path.resolve(), resolved)
        elif path.parent in inside:
            leads = inside[path.parent]
        else:
            leads = inside[path.parent] = is_within(path.parent.resolve(), resolved)
        if leads:
            raise UsageError(
                f"{source.path} leads into OUTPUT {output}, where it could be overwritten: "
                "choose another folder"
            )


def check_outside(inputs: Sequence[Location], path: Location, what: str) -> None:
    """Raise UsageError where `path` is one of `inputs`, is inside it or contains it.

    what: name of `path` in the message
    """
    resolved = real_place(path)
    for given in inputs:
        source = real_place(given)
        if resolved == source or source in resolved.parents or resolved in source.parents:
            raise UsageError(
                f"{what} {path} and {given} are one inside the other: choose a folder elsewhere"
            )
