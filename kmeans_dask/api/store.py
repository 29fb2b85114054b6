"""Store of a collection, for people: its pixels as Dask arrays, its palettes, its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Unpack

from kmeans_dask.api import store_jobs
from kmeans_dask.api.images import Palette
from kmeans_dask.api.job_input import AnyPath, AnyPaths
from kmeans_dask.files import Location, parse_location
from kmeans_dask.job.fit_result import read_fit
from kmeans_dask.job.notebook import table
from kmeans_dask.settings import FitSettings
from kmeans_dask.store import Store as ZarrStore

if TYPE_CHECKING:
    import dask.array as da

    from kmeans_dask.api.options import (
        EncodeOptions,
        FitOptions,
        IngestOptions,
        TokenizeOptions,
        VerifyOptions,
    )
    from kmeans_dask.job.fit_result import FitResult
    from kmeans_dask.job.summary import IngestSummary, Summary, TokensSummary
    from kmeans_dask.steps.verify import VerifyResult

_FIT = FitSettings()


@dataclass(frozen=True)
class StoredImage:
    """Image of a store.

    path: path or URL of its input file
    name: name of its output, without the suffix of a format
    height, width: its size in pixels
    offset: number of its first pixel among the pixels of the store
    n_bytes: bytes of its input file
    """

    path: str
    name: str
    height: int
    width: int
    offset: int
    n_bytes: int

    @property
    def pixels(self) -> slice:
        """Return the slice of its pixels in `Store.pixels` and in `Store.tokens`."""
        return slice(self.offset, self.offset + self.height * self.width)


@dataclass(frozen=True)
class Store:
    """Store of a collection: decoded pixels, their histogram, and palettes fitted to it.

    path: path or URL of the store
    summary: summary of the ingestion that made it; None for a store that was opened

    >>> store = Store.open("photos.zarr")  # doctest: +SKIP
    >>> store.pixels.mean(axis=0).compute()  # doctest: +SKIP
    """

    path: Location
    summary: IngestSummary | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: AnyPath) -> Store:
        """Return the store at `path`. Raises StoreError where there is no whole store."""
        location = parse_location(path).absolute()
        ZarrStore.open(location).require_whole()
        return cls(location)

    @property
    def pixels(self) -> da.Array:
        """Return the pixels, (n, 3) uint8 sRGB, image after image; transparent ones are black."""
        from kmeans_dask.store.dask_arrays import open_pixels  # Dask's arrays take long to import

        return open_pixels(self.path)

    def tokens(self, palette_name: str | None = None) -> da.Array:
        """Return the palette index of each pixel, (n,) uint8 or uint16, written by `tokenize`.

        palette_name: name of the palette; None for the one fitted last

        Raises StoreError where there are none.
        """
        from kmeans_dask.store.dask_arrays import open_indices

        return open_indices(self.path, palette_name)

    @property
    def images(self) -> tuple[StoredImage, ...]:
        """Return the images, in the order of their pixels."""
        store, found, offset = ZarrStore.open(self.path), list[StoredImage](), 0
        for partition_id in store.partition_ids:
            for image in store.partition(partition_id).images:
                height, width = image.height, image.width
                found.append(
                    StoredImage(image.path, image.stem, height, width, offset, image.n_bytes)
                )
                offset += height * width
        return tuple(found)

    @property
    def palettes(self) -> Mapping[str, Palette]:
        """Return the palettes that were fitted, by their names, the latest last."""
        store = ZarrStore.open(self.path)
        return {
            name: Palette(read_fit(store, name).palette.entries) for name in store.palette_names
        }

    def fit(self, colors: int = _FIT.colors, **options: Unpack[FitOptions]) -> FitResult:
        """Fit a palette to the colours of the store, and keep it under the name `k<colors>`.

        options: those of `kmeans_dask.api.store_jobs.fit`
        """
        return store_jobs.fit(self.path, colors=colors, **options)

    def encode(self, output: AnyPath, **options: Unpack[EncodeOptions]) -> Summary:
        """Write the images with a palette that was fitted.

        options: those of `kmeans_dask.api.store_jobs.encode`
        """
        return store_jobs.encode(self.path, output, **options)

    def tokenize(self, **options: Unpack[TokenizeOptions]) -> TokensSummary:
        """Write every pixel as the index of its entry in a palette that was fitted.

        options: those of `kmeans_dask.api.store_jobs.tokenize_fitted`
        """
        return store_jobs.tokenize_fitted(self.path, **options)

    def verify(self, **options: Unpack[VerifyOptions]) -> VerifyResult:
        """Read every byte, and name each part that is not as it was written.

        options: those of `verify`
        """
        return store_jobs.verify(self.path, **options)

    def _repr_html_(self) -> str:
        found = store_jobs.info(self.path)
        return table(
            {
                "store": self.path,
                "images": f"{found.tally.images:,}" if found.tally else "not counted yet",
                "pixels": f"{found.tally.pixels:,}" if found.tally else "not counted yet",
                "palettes": ", ".join(self.palettes) or "none is fitted",
            }
        )


def ingest(inputs: AnyPaths, store: AnyPath, **options: Unpack[IngestOptions]) -> Store:
    """Decode images into a store, count their colours, and return the store.

    Images that the store has already stay as they are.

    inputs: images, or folders that are searched for images: paths or URLs, one or several
    store: path or URL of the store
    options: those of `kmeans_dask.api.store_jobs.ingest`, as `resume` and `progress`

    Raises UsageError and JobError.

    >>> store = ingest("photos", "photos.zarr")  # doctest: +SKIP
    """
    summary = store_jobs.ingest(inputs, store, **options)
    return Store(parse_location(store).absolute(), summary)
