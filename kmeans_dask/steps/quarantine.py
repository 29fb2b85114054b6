"""Quarantine of images that kill workers: they are found one by one, and left out of a task."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from kmeans_dask.engine import Engine, worker_memory
from kmeans_dask.images.inspector import find_killers
from kmeans_dask.plan.plan import Source
from kmeans_dask.settings import DecodeSettings
from kmeans_dask.store.records import Failure

Item = TypeVar("Item")


@dataclass(frozen=True)
class WorkItem(Generic[Item]):
    """Work of one task on some images.

    name: id of the partition, or of the record, that the task writes
    work: what the task is to do, besides its images
    sources: images of the task
    quarantined: those of the images that are known to kill the process that decodes them
    """

    name: str
    work: Item
    sources: tuple[Source, ...]
    quarantined: tuple[Failure, ...] = ()

    @property
    def n_pixels(self) -> int:
        """Return the number of pixels of all images."""
        return sum(source.n_pixels for source in self.sources)

    def safe(self, sources: Sequence[Source]) -> list[Source]:
        """Return those of `sources` that are not quarantined."""
        known = {failure.path for failure in self.quarantined}
        return [source for source in sources if source.path not in known]


def quarantiner(
    engine: Engine, settings: DecodeSettings
) -> Callable[[WorkItem[Item]], WorkItem[Item]]:
    """Return a function that quarantines the images of a work item that kill their workers."""

    def rescue(item: WorkItem[Item]) -> WorkItem[Item]:
        task = functools.partial(probe, settings)
        # `map` tries it again where its worker is killed by other work
        [found] = engine.map("probe", task, [item.safe(item.sources)])
        return replace(item, quarantined=(*item.quarantined, *found))

    return rescue


def probe(settings: DecodeSettings, sources: Sequence[Source]) -> list[Failure]:
    """Return the images among `sources` that kill the process that decodes them, as one task."""
    found = find_killers([source.path for source in sources], settings, worker_memory())
    return [Failure(path, reason) for path, reason in found.items()]
