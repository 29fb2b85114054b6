"""Changes of a collection since it was planned, and the plan that includes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kmeans_dask.files import is_within, parse_location
from kmeans_dask.plan.plan import Plan, Source, cut, numbered

_NAMED = 3  # paths of each kind in a message


@dataclass(frozen=True)
class Changes:
    """Changes of a collection: paths of images that are new, changed or gone.

    An image has changed where a name for its output differs, or its digest; where digests of both
    plans are not known, its size and its time of change are compared.
    """

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.gone)

    def __str__(self) -> str:
        """Return the changes in words.

        >>> str(Changes(new=("/a/1.png", "/a/2.png"), gone=("/a/0.png",)))
        '2 new (/a/1.png, /a/2.png), 1 gone (/a/0.png)'
        """
        return ", ".join(
            f"{len(paths)} {kind} ({_few(paths)})" for kind, paths in vars(self).items() if paths
        )


def _few(paths: Sequence[str]) -> str:
    return ", ".join(paths[:_NAMED]) + (", ..." if len(paths) > _NAMED else "")


def compare(before: Plan, now: Plan) -> Changes:
    """Return how the images of the plan `now` differ from those of the plan `before`.

    Images of inputs that were not searched now are neither changed nor gone.
    """
    found = {source.path: source for source in now.sources}
    known = {source.path: source for source in before.sources}
    return Changes(
        new=tuple(path for path in found if path not in known),
        changed=tuple(
            path
            for path, source in found.items()
            if path in known and not _same(known[path], source)
        ),
        gone=tuple(path for path in known if path not in found and _is_in(path, now.inputs)),
    )


def grown(before: Plan, now: Plan, changes: Changes) -> Plan:
    """Return the plan of the images of `now`, and of those in `before` that were not searched now.

    A partition of `before` stays as it is where none of its images has changed or is gone. All
    other images are put into new partitions.
    """
    other = {*changes.changed, *changes.gone}
    kept = {
        name: sources
        for name, sources in before.partitions.items()
        if not any(source.path in other for source in sources)
    }
    there = {source.path for sources in kept.values() for source in sources}
    rest = [source for source in now.sources if source.path not in there]
    planned = {source.path for source in rest} | there
    # Images of partitions that are not kept, in inputs that were not searched now.
    rest += [
        source
        for source in before.sources
        if source.path not in planned and source.path not in other
    ]
    new = numbered(cut(rest, now.partition_pixels), before.first_free)
    partitions = kept | new
    searched = {failure.path for failure in now.failures}
    failures = [
        failure
        for failure in before.failures
        if failure.path not in searched and not _is_in(failure.path, now.inputs)
    ]
    return replace(
        now,
        inputs=tuple(dict.fromkeys([*before.inputs, *now.inputs])),
        partitions=partitions,
        failures=(*failures, *now.failures),
        generation=before.generation + 1,
        settled=before.settled,
        first_free=before.first_free + len(new),
    )


def _same(before: Source, now: Source) -> bool:
    if (before.kept_as, before.stem) != (now.kept_as, now.stem):
        return False
    if before.digest and now.digest:
        return before.digest == now.digest
    return (before.n_bytes, before.modified) == (now.n_bytes, now.modified)


def _is_in(path: str, inputs: Sequence[str]) -> bool:
    return any(is_within(parse_location(path), parse_location(given)) for given in inputs)
