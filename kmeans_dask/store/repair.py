"""Search for damage in a store, and repair of damage where that needs no images.

Every byte of a store is checked: chunks by their checksums, metadata by seals, the plan by a seal
of its own. The plan, the attributes of the store and the palettes are stored twice.
"""

from __future__ import annotations

from contextlib import suppress

from msgspec import UNSET

from kmeans_dask.errors import StoreError
from kmeans_dask.files import Location
from kmeans_dask.files.atomic_files import copy_folder, read_sealed, remove, write_file
from kmeans_dask.files.documents import DamagedError
from kmeans_dask.store import zarr_groups
from kmeans_dask.store.records import FORMS, PLAN, STORE
from kmeans_dask.store.store import MEMBERS, OURS, PLANS, Store, refuse_links


def damaged_metadata(path: Location) -> dict[str, str]:
    """Return what is wrong with the metadata of the store at `path` and its plan, by file name.

    Raises StoreError where there is no store, or one of another version.
    """
    if zarr_groups.format_of(path) != OURS and not any(_is_of_ours(path / name) for name in PLANS):
        Store.open(path)  # raises StoreError
    found = {name: "is damaged" for name in PLANS if not _is_sealed(path / name)}
    if not found and read_sealed(path / PLANS[0], PLAN) != read_sealed(path / PLANS[1], PLAN):
        found[PLANS[1]] = f"is not what {PLANS[0]} is"
    try:
        zarr_groups.read_root(path, STORE)
    except StoreError as error:
        found["zarr.json"] = str(error).removeprefix(f"{path} ")
    return found


def mend_roots(path: Location) -> None:
    """Repair the metadata of the store at `path` and its plan, each from its copy.

    Raises StoreError where both copies of what is needed are damaged.
    """
    refuse_links(path)
    damaged = damaged_metadata(path)
    if all(name in damaged for name in PLANS):
        raise StoreError(f"{path} cannot be repaired: both copies of its plan are damaged")
    for name, other in (PLANS, PLANS[::-1]):
        if name in damaged:
            zarr_groups.make_way(path / name)
            write_file(path / name, (path / other).read_bytes())
    if "zarr.json" in damaged:
        attrs = read_sealed(path / PLANS[0], PLAN).attrs
        if attrs is UNSET:
            raise StoreError(f"{path} cannot be repaired: its plan has no copy of the attributes")
        zarr_groups.rewrite_metadata(path, attrs)
        for name in MEMBERS:
            zarr_groups.rewrite_metadata(path / name)
        zarr_groups.seal(path, MEMBERS)


def places(store: Store) -> list[str]:
    """Return all parts that a store has or should have, as paths below it, to check in turn."""
    there = ["colors", *(["weighed"] if store.has_image_weights else [])]
    partitions = {*store.partition_ids, *store.committed_partitions}
    there += [f"partitions/{name}" for name in sorted(partitions)]
    for folder in ("palettes", "copies"):
        there += [f"{folder}/{name}" for name in store.palette_names_twice]
    for name in zarr_groups.members(store.path / "indices"):
        there.append(f"indices/{name}")
        parts = {*store.partition_ids, *zarr_groups.members(store.path / "indices" / name)}
        there += [f"indices/{name}/{part}" for part in sorted(parts)]
    return there


def damage_of(path: Location, place: str) -> str | None:
    """Read the part `place` of the store at `path`, and return what is wrong with it, or None."""
    folder = path / place
    if not zarr_groups.is_member(folder):
        return "is missing"
    try:
        zarr_groups.check_group(folder, FORMS[place.partition("/")[0]])
    except StoreError as error:
        return str(error).removeprefix(f"{folder} ")
    return None


def mend(store: Store, place: str) -> bool:
    """Repair the part `place` of a store, or else remove it, to be made again.

    Return whether it is repaired: a palette from its copy, or metadata that are always the same.
    """
    kind, _, name = place.partition("/")
    if kind in ("palettes", "copies"):
        other = store.path / {"palettes": "copies", "copies": "palettes"}[kind] / name
        remove(store.path / place)
        if damage_of(store.path, f"{other.parent.name}/{name}"):
            return False
        copy_folder(other, store.path / place, zarr_groups.SEAL)
        return True
    if kind == "indices" and "/" not in name and (store.path / place).is_dir():
        zarr_groups.rewrite_metadata(store.path / place)
        zarr_groups.seal(store.path / place, ())
        return True
    if not (store.path / place).is_file():  # else a folder was in place of a file, and is repaired
        remove(store.path / place)
    return False


def _is_sealed(path: Location) -> bool:
    with suppress(OSError, DamagedError):
        read_sealed(path, PLAN)
        return True
    return False


def _is_of_ours(plan: Location) -> bool:
    """Return whether a plan is whole, and is that of a store in the format of this version."""
    with suppress(OSError, DamagedError):
        attrs = read_sealed(plan, PLAN).attrs
        return attrs is not UNSET and (attrs.format, attrs.format_version) == OURS
    return False
