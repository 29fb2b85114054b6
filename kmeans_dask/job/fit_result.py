"""Result of a fit: a palette, its errors, and how it was found."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.palette import Palette
from kmeans_dask.color.psnr import psnr
from kmeans_dask.job.notebook import NotebookTable, swatches, table
from kmeans_dask.settings import FitSettings
from kmeans_dask.store import Store


@dataclass(frozen=True)
class Drift:
    """Drift of a collection from a palette that was fitted before its images changed.

    fitted: PSNR of the palette over all pixels when it was fitted, in dB; None where nothing was
        lost
    now: PSNR of the palette over all pixels that there are now, in dB; None where nothing is lost
    """

    fitted: float | None
    now: float | None


@dataclass(frozen=True)
class FitResult(NotebookTable):
    """Result of a fit: a palette, its errors, and how it was found.

    Fully transparent pixels do not count.

    name: name of the palette in a store
    weights: (c,) int64, number of pixels nearest to each of the palette's colours
    distinct_colors: number of distinct colours of all pixels
    inertia: sum of squared distances of all pixels to their centroids, before rounding, in the
        colour space and with the weights of the fit
    squared_error: sum over all pixels of the squared error of the palette's colours, in
        1 / `color.color_lookup.ERROR_UNITS` of a squared 8-bit value
    history: inertia at the start of each iteration, and at the end
    settings: settings of the fit
    generation: generation of the plan whose images the palette was fitted to
    drift: drift of the images from a palette fitted before; None where there was none
    """

    name: str
    palette: Palette
    weights: NDArray[np.int64]
    distinct_colors: int
    iterations: int
    converged: bool
    inertia: float
    squared_error: int
    history: tuple[float, ...]
    settings: FitSettings
    generation: int
    drift: Drift | None = None

    @property
    def psnr(self) -> float | None:
        """Return the PSNR in dB over all pixels that are not fully transparent.

        Return None where nothing is lost.
        """
        return psnr(self.squared_error, int(self.weights.sum()))

    def _repr_html_(self) -> str:
        figures = {
            name: value
            for name, value in self.as_dict().items()
            if name not in ("settings", "drift")
        }
        return table(figures) + swatches(self.palette.entries)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures of the fit, ready for JSON."""
        return {
            "palette": self.name,
            "colors": len(self.palette),
            "distinct_colors": self.distinct_colors,
            "iterations": self.iterations,
            "converged": self.converged,
            "inertia": self.inertia,
            "psnr": self.psnr,
            "settings": asdict(self.settings),
            "drift": self.drift and asdict(self.drift),
        }


def name_of(settings: FitSettings) -> str:
    """Return the name of the palette that a fit with `settings` has."""
    return f"k{settings.colors}"


def read_fit(store: Store, name: str | None = None) -> FitResult:
    """Return the fit that `store` holds under `name`, or else the last one.

    Raises StoreError where there is none.
    """
    if name is None:
        name = store.palette_names[-1] if store.palette_names else ""
    stored = store.read_palette(name)
    palette, fitted = Palette.of_entries(stored.entries), stored.fitted
    return FitResult(
        name=name,
        palette=palette,
        weights=stored.weights[palette.numbers],
        distinct_colors=fitted.distinct_colors,
        iterations=fitted.iterations,
        converged=fitted.converged,
        inertia=fitted.inertia,
        squared_error=int(fitted.squared_error),
        history=fitted.history,
        settings=fitted.settings,
        generation=fitted.generation,
    )


def plain_settings(settings: FitSettings) -> dict[str, Any]:
    """Return `settings` ready for JSON, without those that do not change the result."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    plain.pop("chunk_colors")
    return plain
