"""Colour spaces in which distances are measured: conversion of colours to points, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.oklab import UNIT, from_oklab, to_oklab
from kmeans_dask.kmeans.exact_sums import integer_grid
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.kmeans.points import Points, exact_dtype, make_points

_OPAQUE = 255


@dataclass(frozen=True)
class Space:
    """Colour space whose coordinates are integers, so that sums of them are exact.

    name: "rgb", 8-bit sRGB values, or "oklab", in fixed-point numbers
    alpha: whether colours have alpha. Then there is one more channel, and the others are
        multiplied by alpha, so that a colour that hardly shows hardly counts (Porter & Duff 1984,
        "Compositing digital images", SIGGRAPH, section 3). In rgb the products are exact: r a,
        g a, b a and 255 a.
    """

    name: str = "rgb"
    alpha: bool = False

    @property
    def channels(self) -> int:
        """Return the number of channels of a point: 3, or 4 with alpha."""
        return 3 + self.alpha

    @property
    def largest(self) -> int:
        """Return the upper bound of the absolute value of a coordinate."""
        return UNIT if self.name == "oklab" else _OPAQUE**2 if self.alpha else _OPAQUE

    def holds(self, centroids: NDArray[np.float64]) -> bool:
        """Return whether `centroids` have shape (k, C) and lie within the bounds of this space."""
        return centroids.shape[1:] == (self.channels,) and bool(
            (np.abs(centroids) <= self.largest).all()  # False for NaN
        )

    def coordinates(
        self, colors: NDArray[np.uint8], alphas: NDArray[np.uint8] | None = None
    ) -> NDArray[Any]:
        """Return the coordinates of colours, (n, C) integers.

        colors: (n, 3) uint8, not multiplied by alpha; alphas: (n,) uint8, None where all are opaque
        """
        if self.name == "rgb" and not self.alpha:
            return colors
        values = to_oklab(colors) if self.name == "oklab" else colors.astype(np.int64)
        if not self.alpha:
            return values
        over = np.full(len(colors), _OPAQUE) if alphas is None else alphas.astype(np.int64)
        if self.name == "rgb":
            return np.column_stack([values * over[:, None], _OPAQUE * over])
        weighed = np.column_stack([values * over[:, None], UNIT * over])
        return (2 * weighed + _OPAQUE) // (2 * _OPAQUE)  # to the nearest integer

    def points(self, histogram: ColorHistogram, weights: NDArray[np.int64] | None = None) -> Points:
        """Return the colours of `histogram` as points, in its order.

        weights: (u,), used in place of the weights of `histogram`

        Raises OverflowError where sums would not fit 64 bits.
        """
        weights = histogram.weights if weights is None else weights
        if float(weights.sum(dtype=np.float64)) * self.largest >= 2.0**63:
            raise OverflowError("more pixels than can be summed exactly in this colour space")
        values = self.coordinates(histogram.colors, histogram.alphas if self.alpha else None)
        dtype = np.uint8 if values.dtype == np.uint8 else exact_dtype((0,), (self.largest,))
        return make_points(
            values.astype(dtype), weights, integer_grid(self.channels), spatially_sorted=True
        )

    def colors(
        self, centroids: NDArray[np.float64], opaque: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the colours of centroids (k, C), (k, 3 or 4), on a scale where white is 255.

        opaque: (k,), the colours that become opaque in a space with alpha; no others do

        The colours are not multiplied by alpha, and not rounded yet.
        """
        alphas = None
        if self.alpha:
            most = UNIT if self.name == "oklab" else _OPAQUE**2
            shares = (centroids[:, 3] / most).clip(1 / _OPAQUE, 1)
            centroids = centroids[:, :3] / shares[:, None]
            alphas = np.where(opaque, _OPAQUE, np.minimum(_OPAQUE * shares, _OPAQUE - 1))
        if self.name == "oklab":
            colors = from_oklab(centroids).astype(np.float64)
        else:
            colors = centroids / _OPAQUE if self.alpha else centroids
        return colors if alphas is None else np.column_stack([colors, alphas])
