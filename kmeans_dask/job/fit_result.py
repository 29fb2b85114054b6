"""Result of a fit: a palette, its errors, and how it was found."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.palette import Palette
from kmeans_dask.color.psnr import psnr
from kmeans_dask.settings import FitSettings
from kmeans_dask.store import Store


@dataclass(frozen=True)
class Drift:
    """How far the images have moved away from a palette that was fitted to fewer of them.

    fitted, now: its PSNR over all pixels, in dB, then and now; None where nothing was lost
    """

    fitted: float | None
    now: float | None


@dataclass(frozen=True)
class FitResult:
    """A palette, and how it came about.

    weights: (c,) int64, pixels nearest to each of the palette's colours
    distinct_colors: of all pixels that are not clear
    inertia: sum of squared distances of these to the centroids, before rounding, in the space
        and with the weights of the fit
    squared_error: of all pixels to the palette's colours, in `color.color_lookup.ERROR_UNITS`
    history: inertia at the start of each iteration, and at the end
    settings: of the fit
    generation: of the plan whose images it was fitted to
    drift: of a palette fitted before, where there are other images now
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
        """Over all pixels of the store that are not clear, in dB; None where nothing is lost."""
        return psnr(self.squared_error, int(self.weights.sum()))

    def as_dict(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
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
    """What a palette is called."""
    return f"k{settings.colors}"


def read_fit(store: Store, name: str | None = None) -> FitResult:
    """What `fit` stored under `name`, or last. Raises StoreError where there is nothing."""
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
    """As JSON has them; without what does not change the result."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    plain.pop("chunk_colors")
    return plain
