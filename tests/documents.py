"""Sealed documents of any content, as an attacker can craft and seal them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from kmeans_dask.files import Location
from kmeans_dask.files.atomic_files import write_file
from kmeans_dask.files.documents import DamagedError


def read_sealed(path: Location) -> Any:
    """Return the value of a sealed document. Raises DamagedError where the seal does not fit."""
    seal, _, data = path.read_bytes().partition(b"\n")
    if hashlib.sha256(data).hexdigest().encode() != seal:
        raise DamagedError(f"{path} is damaged")
    return json.loads(data)


def write_sealed(path: Location, value: Any) -> None:
    data = json.dumps(value, separators=(",", ":")).encode()
    write_file(path, hashlib.sha256(data).hexdigest().encode() + b"\n" + data)
