"""Pixels in the store to indexed images in the output folder."""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.cluster import Engine
from kmeans_dask.clustering.nearest import NearestColor
from kmeans_dask.errors import StoreError
from kmeans_dask.imaging.palette import Palette
from kmeans_dask.imaging.png import encode_png
from kmeans_dask.pipeline.count import Tally
from kmeans_dask.pipeline.fit import FitResult
from kmeans_dask.pipeline.plan import FAILURES_FILE, PALETTE_FILE, Failure
from kmeans_dask.pipeline.progress import Progress
from kmeans_dask.store import Piece, Store


@dataclass(frozen=True)
class Encoded:
    """What encoding amounted to, over a partition or over all.

    compressed, kept: images written as indexed PNG; copied because that would have been larger
    composited: of the compressed, those whose partly transparent pixels were laid over white
    input_bytes, output_bytes: of the compressed and the kept
    pixels, squared_error: opaque pixels of the compressed images, and the squared differences
        of their 8-bit values that compressing made
    """

    compressed: int = 0
    kept: int = 0
    composited: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    pixels: int = 0
    squared_error: int = 0
    failures: tuple[Failure, ...] = ()

    def __add__(self, other: Encoded) -> Encoded:
        return Encoded(
            self.compressed + other.compressed,
            self.kept + other.kept,
            self.composited + other.composited,
            self.input_bytes + other.input_bytes,
            self.output_bytes + other.output_bytes,
            self.pixels + other.pixels,
            self.squared_error + other.squared_error,
            self.failures + other.failures,
        )

    @property
    def images(self) -> int:
        """Images that are in the output."""
        return self.compressed + self.kept


def encode(
    store: Store,
    output: Path,
    fitted: FitResult,
    engine: Engine,
    progress: Progress,
    *,
    always: bool = False,
) -> Encoded:
    """Write every image of `store` below `output`, and `palette.json` and `failures.jsonl`, if any.

    An image whose PNG would be larger than its file is copied instead, if the file is still
    there; but not with `always`.
    """
    store.require_whole()
    output.mkdir(parents=True, exist_ok=True)
    task = functools.partial(
        encode_partition, store.path, output.absolute(), fitted.palette, always=always
    )
    total = Encoded(failures=_failures(store.attrs["failures"]))
    progress.start("encode", Tally.read(store).images, "images")
    for encoded in engine.map("encode", task, store.partition_ids):
        total += encoded
        progress.advance(encoded.images)
    progress.finish()
    if total.images:
        palette = fitted.palette.to_json(fitted.weights.tolist())
        write_file(output / PALETTE_FILE, palette.encode())
    total = replace(total, failures=tuple(sorted(total.failures, key=lambda f: f.path)))
    write_failures(output, total.failures)
    return total


def encode_partition(
    store_path: Path, output: Path, palette: Palette, partition_id: str, *, always: bool = False
) -> Encoded:
    """One task: map, deflate and write the images of a partition."""
    partition = Store.open(store_path).partition(partition_id)
    nearest = _nearest(palette.colors.tobytes())
    total = Encoded(failures=_failures(partition.failures))
    for image, pieces in partition.read_images():
        indices, n_opaque, squared_error = _map(image, pieces, palette, nearest)
        png = encode_png(indices, palette)
        original = None if always else _original(image, smaller_than=len(png))
        if original is not None:
            write_file(below(output, image["kept_as"]), original)
            total += Encoded(kept=1, input_bytes=len(original), output_bytes=len(original))
        else:
            write_file(below(output, image["output"]), png)
            total += Encoded(
                compressed=1,
                composited=image["composited"],
                input_bytes=image["n_bytes"],
                output_bytes=len(png),
                pixels=n_opaque,
                squared_error=squared_error,
            )
    return total


def _original(image: Mapping[str, Any], *, smaller_than: int) -> bytes | None:
    """The input file as it is now, where it is smaller; None where it is not, or is gone."""
    if image["n_bytes"] >= smaller_than:
        return None
    try:
        return Path(image["path"]).read_bytes()
    except OSError:
        return None


@functools.lru_cache(maxsize=1)
def _nearest(colors: bytes) -> NearestColor:
    """The table of a palette: filled by one task, used by the next."""
    return NearestColor(np.frombuffer(colors, np.uint8).reshape(-1, 3))


def _map(
    image: Mapping[str, Any], pieces: Iterable[Piece], palette: Palette, nearest: NearestColor
) -> tuple[NDArray[np.uint8], int, int]:
    """Palette indices (h, w) of an image; number and squared error of its opaque pixels."""
    indices = np.zeros(image["height"] * image["width"], np.uint8)
    start = n_opaque = squared_error = 0
    for pixels, opaque in pieces:
        into = indices[start : start + len(pixels)]
        found, error = nearest.map(pixels if opaque is None else pixels[opaque])
        into[slice(None) if opaque is None else opaque] = found + palette.first
        start += len(pixels)
        n_opaque += len(found)
        squared_error += error
    return indices.reshape(image["height"], image["width"]), n_opaque, squared_error


def below(output: Path, name: str) -> Path:
    """The path of `name` below `output`. Raises StoreError for a name that would leave it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise StoreError(f"the store names an output outside the output folder: {name!r}")
    return output / path


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to `path`, which is never seen half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / f".kmeans-dask-{secrets.token_hex(8)}"
    try:
        aside.write_bytes(data)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _failures(records: Sequence[Mapping[str, str]]) -> tuple[Failure, ...]:
    return tuple(Failure(**record) for record in records)


def write_failures(output: Path, failures: Sequence[Failure]) -> None:
    """Write `failures.jsonl`; remove one of an earlier run where there is nothing to write."""
    if not failures:
        (output / FAILURES_FILE).unlink(missing_ok=True)
        return
    lines = [json.dumps(asdict(failure)) + "\n" for failure in failures]
    write_file(output / FAILURES_FILE, "".join(lines).encode())
