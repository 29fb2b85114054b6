"""Verification of a store, and repair of what is not as it was written."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from kmeans_dask.engine import Engine
from kmeans_dask.errors import JobError, StoreError
from kmeans_dask.files import Location, parse_location
from kmeans_dask.job.fit_result import read_fit
from kmeans_dask.job.notebook import NotebookTable
from kmeans_dask.job.progress import Progress
from kmeans_dask.plan.plan import Plan, Source
from kmeans_dask.settings import DecodeSettings
from kmeans_dask.steps.count import compute_image_weights, count
from kmeans_dask.steps.encode import write_tokens
from kmeans_dask.steps.ingest import ingest
from kmeans_dask.store import Store
from kmeans_dask.store.repair import damage_of, damaged_metadata, mend, mend_roots, places

_NAMED = 3  # images that a message names


@dataclass(frozen=True)
class Damage:
    """Damaged part of a store: its place, and what is wrong with it."""

    place: str
    reason: str


@dataclass(frozen=True)
class VerifyResult(NotebookTable):
    """Result of verifying a store, and of repairing it.

    places: number of parts that were verified
    damages: damages that were found
    repaired: whether all of them are repaired now
    """

    places: int
    damages: tuple[Damage, ...]
    repaired: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return all figures, ready for JSON."""
        return asdict(self)


def verify(path: Location, engine: Engine, progress: Progress) -> VerifyResult:
    """Read every byte of the store at `path`, and return what is not as it was written."""
    roots = tuple(Damage(name, reason) for name, reason in damaged_metadata(path).items())
    try:
        found = _verify(Store.open(path), engine, progress)
    except StoreError:
        if not roots:
            raise
        return VerifyResult(len(roots), roots)  # the rest is out of reach until these are repaired
    return replace(found, damages=(*roots, *found.damages))


def _verify(store: Store, engine: Engine, progress: Progress) -> VerifyResult:
    everything = places(store)
    task = functools.partial(find_damage, store.path)
    found: list[Damage] = []
    progress.start("verify", len(everything), "parts")
    for damage in engine.map("verify", task, everything):
        found += [damage] if damage else []
        progress.advance(1, bool(damage))
    progress.finish()
    damages = tuple(sorted(found, key=lambda damage: damage.place))
    return VerifyResult(len(everything), damages)


def find_damage(store_path: Location, place: str) -> Damage | None:
    """Return the damage of a part of a store, or None, as one task."""
    reason = damage_of(store_path, place)
    return Damage(place, reason) if reason else None


def repair(path: Location, engine: Engine, progress: Progress) -> VerifyResult:
    """Repair what is damaged: from copies, from the images, or from other parts of the store.

    Raises JobError where that is impossible; the message says what would help.
    """
    roots = tuple(Damage(name, reason) for name, reason in damaged_metadata(path).items())
    mend_roots(path)
    store = Store.open(path)
    found, has_weights = _verify(store, engine, progress), store.has_image_weights
    left = [damage.place for damage in found.damages if not mend(store, damage.place)]
    lost = [place.partition("/")[2] for place in left if place.startswith(("palettes/", "copies/"))]
    if lost:
        raise JobError(f"{path} has lost both copies of palette {lost[0]}: fit it again")
    plan = Plan.of_record(store.plan)
    missing = {name: plan.partitions[name] for name in store.missing_partitions}
    _refuse_changed(path, [source for sources in missing.values() for source in sources])
    decode = DecodeSettings.of_record(store.attrs.decode)
    ingest(replace(plan, partitions=missing, settled=0), store, engine, progress, decode)
    store.remove_unplanned()
    count(store, engine, progress)
    if has_weights and not store.has_image_weights:
        compute_image_weights(store, engine, progress)
    for name in sorted({place.split("/")[1] for place in left if place.startswith("indices/")}):
        write_tokens(store, read_fit(store, name), engine, progress)
    again = verify(path, engine, progress)
    return VerifyResult(found.places, (*roots, *found.damages), not again.damages)


def _refuse_changed(path: Location, sources: Sequence[Source]) -> None:
    changed = [source.path for source in sources if not _is_as_it_was(source)]
    if changed:
        raise JobError(
            f"{path} has lost images that are not as they were ({', '.join(changed[:_NAMED])}"
            f"{', ...' if len(changed) > _NAMED else ''}): `kmeans-dask ingest` takes them as they "
            "are now"
        )


def _is_as_it_was(source: Source) -> bool:
    try:
        status = parse_location(source.path).stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (source.n_bytes, source.modified)
