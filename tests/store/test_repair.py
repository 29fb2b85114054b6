"""Damage of any file of a store, wherever it is, is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmeans_dask.store import Store
from kmeans_dask.store.repair import damage_of, damaged_metadata, places
from tests.store.conftest import damages_of, files_of, root_of


def parse_location(store: Store, file: Path) -> str | None:
    """The smallest place that a file is in; None of what is of the whole store."""
    inside = [place for place in places(store) if store.path / place in file.parents]
    return max(inside, key=len, default=None)


def test_any_byte_of_any_file_that_changes_is_noticed(tiny: Store) -> None:
    unnoticed = []
    for file in files_of(tiny):
        content, place = file.read_bytes(), parse_location(tiny, file)
        for position in range(len(content)):
            flipped = bytearray(content)
            flipped[position] ^= 1 << position % 8
            file.write_bytes(flipped)
            if not (damage_of(tiny.path, place) if place else damaged_metadata(tiny.path)):
                unnoticed.append((file.relative_to(root_of(tiny)), position))
        file.write_bytes(content)
    assert not unnoticed
    assert damages_of(root_of(tiny)) == []


@pytest.mark.parametrize("damage", ["deleted", "cut", "emptied", "longer"])
def test_any_file_that_is_gone_or_of_another_length_is_noticed(damage: str, tiny: Store) -> None:
    for file in files_of(tiny):
        content = file.read_bytes()
        file.unlink()
        if damage != "deleted":
            file.write_bytes({"cut": content[:-1], "emptied": b"", "longer": content * 2}[damage])
        assert damages_of(root_of(tiny)), file
        file.write_bytes(content)
    assert damages_of(root_of(tiny)) == []
