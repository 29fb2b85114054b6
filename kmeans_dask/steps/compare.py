"""Comparison of k-means implementations on one image: the article's experiment, made fair.

All implementations start from the same random pixels of the image and stop by the same rule,
scikit-learn's, except those with rules of their own, which the result names. Each runs on a few
pixels first, so that the time of loading and compiling is not measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import ERROR_UNITS
from kmeans_dask.color.palette import palette_of
from kmeans_dask.color.psnr import psnr
from kmeans_dask.color.spaces import Space
from kmeans_dask.errors import ImageError, UsageError
from kmeans_dask.estimator.kmeans import KMeans
from kmeans_dask.files import Location
from kmeans_dask.images.decode import decode
from kmeans_dask.images.png import encode_png
from kmeans_dask.kmeans.histogram import count_colors
from kmeans_dask.kmeans.seeding import random_points
from kmeans_dask.kmeans.textbook import textbook_kmeans

_MAX_ITER = 300
_FEW = 2000  # pixels, about, of the run before the measured one


@dataclass(frozen=True)
class Side:
    """Time and result of one implementation.

    seconds: time from pixels to centroids and labels
    iterations: number of iterations; None where the implementation does not report it
    inertia: sum of the squared distances of all pixels to their centroids, in squared 8-bit values
    psnr: PSNR in dB of the image with the centroids, rounded, as its palette; None without loss
    n_bytes: bytes of that image as an indexed PNG
    difference: largest difference between a coordinate of its centroids and ours; None where it
        has another start, another rule or another number of centroids
    note: start or rule of its own, if any
    """

    name: str
    seconds: float
    iterations: int | None
    inertia: float
    psnr: float | None
    n_bytes: int
    difference: float | None
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Results of all implementations on one image, ours first.

    path, width, height: the image
    colors: number of centroids
    input_bytes: size of the image file
    sides: one result for each implementation
    """

    path: str
    width: int
    height: int
    colors: int
    input_bytes: int
    sides: tuple[Side, ...]

    @property
    def ratios(self) -> list[float]:
        """Return the time of each implementation as a multiple of ours."""
        return [side.seconds / self.sides[0].seconds for side in self.sides]

    def as_dict(self) -> dict[str, Any]:
        """Return all figures, ready for JSON."""
        return asdict(self) | {"ratios": self.ratios}


_Found = tuple[NDArray[np.float64], NDArray[Any], int | None]  # centroids, labels, iterations
_Fit = Callable[[NDArray[np.uint8], NDArray[np.float64], float], _Found]


def compare(path: Location, colors: int, *, seed: int = 0, tol: float = 1e-4) -> Comparison:
    """Fit `colors` to the image at `path` by each implementation that is installed.

    Raises UsageError where the file is no image, or has no more than `colors` colours.
    """
    try:
        decoded = decode(path)
    except ImageError as error:
        raise UsageError(f"{path}: {error}") from error
    pixels = decoded.whole().pixels.copy()  # writeable like `few`: numba compiles once
    table = count_colors(pixels)
    if len(table) <= colors:
        raise UsageError(f"{path} has {len(table)} colours: compare it with fewer")
    start = random_points(Space().points(table), colors, seed)
    # The start is moved a little off the integers: from there, many pixels would be exactly as far
    # from two centroids, and each implementation is free to choose either.
    start += np.random.default_rng(seed).uniform(0.1, 0.4, start.shape)
    few = np.ascontiguousarray(pixels[:: max(1, len(pixels) // _FEW)])
    shape = decoded.height, decoded.width
    sides: list[Side] = []
    ours: NDArray[np.float64] | None = None
    for name, fit, note in _implementations():
        fit(few, start, tol)
        since = time.perf_counter()
        centroids, labels, iterations = fit(pixels, start, tol)
        seconds = time.perf_counter() - since
        ours = centroids if ours is None else ours
        alike = note == "" and len(centroids) == len(ours)
        sides.append(
            Side(
                name,
                seconds,
                iterations,
                _inertia(pixels, centroids, labels),
                *_as_png(pixels, centroids, shape),
                float(np.abs(centroids - ours).max()) if alike else None,
                note,
            )
        )
    width, height = decoded.width, decoded.height
    return Comparison(str(path), width, height, colors, path.stat().st_size, tuple(sides))


def _implementations() -> list[tuple[str, _Fit, str]]:
    found: list[tuple[str, _Fit, str]] = [
        ("kmeans-dask", _ours, ""),
        ("textbook", _textbook, ""),
        ("scikit-learn", _scikit_learn, ""),
        ("Pillow", _pillow, "median cut, then its own k-means"),
    ]
    peers: list[tuple[str, str, _Fit, str]] = [
        ("cv2", "OpenCV", _opencv, "its own start, and stop at a shift of 1"),
        ("faiss", "faiss", _faiss, "20 iterations"),
        ("imagequant", "libimagequant", _imagequant, "median cut, then its own k-means"),
    ]
    return found + [(name, fit, note) for module, name, fit, note in peers if find_spec(module)]


def _ours(pixels: NDArray[np.uint8], start: NDArray[np.float64], tol: float) -> _Found:
    model = KMeans(len(start), init=start, max_iter=_MAX_ITER, tol=tol).fit(pixels)
    return model.cluster_centers_, model.labels_, model.n_iter_


def _textbook(pixels: NDArray[np.uint8], start: NDArray[np.float64], tol: float) -> _Found:
    found = textbook_kmeans(pixels.astype(np.float64), start, max_iter=_MAX_ITER, tol=tol)
    return found.centroids, found.labels, found.n_iter


def _scikit_learn(pixels: NDArray[np.uint8], start: NDArray[np.float64], tol: float) -> _Found:
    from sklearn.cluster import KMeans as Reference

    model = Reference(len(start), init=start, n_init=1, max_iter=_MAX_ITER, tol=tol)
    model.fit(pixels.astype(np.float64))
    return model.cluster_centers_, model.labels_, model.n_iter_


def _pillow(pixels: NDArray[np.uint8], start: NDArray[np.float64], tol: float) -> _Found:
    from PIL import Image

    image = Image.fromarray(pixels[None])
    quantized = image.quantize(len(start), kmeans=1, dither=Image.Dither.NONE)
    palette = np.array(quantized.getpalette("RGB"), np.float64).reshape(-1, 3)
    labels = np.asarray(quantized)[0]
    return palette[: labels.max() + 1], labels, None


def _opencv(pixels: NDArray[np.uint8], start: NDArray[np.float64], tol: float) -> _Found:
    import cv2

    rule = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, _MAX_ITER, 1.0)
    _, labels, centroids = cv2.kmeans(
        pixels.astype(np.float32), len(start), None, rule, 1, cv2.KMEANS_PP_CENTERS
    )
    return centroids.astype(np.float64), labels.ravel(), None


def _faiss(pixels: NDArray[np.uint8], start: NDArray[np.float64], tol: float) -> _Found:
    import faiss

    values = pixels.astype(np.float32)
    model = faiss.Kmeans(3, len(start), niter=20, max_points_per_centroid=len(values))
    model.train(values, init_centroids=start.astype(np.float32))
    _, labels = model.index.search(values, 1)
    return model.centroids.astype(np.float64), labels.ravel(), 20


def _imagequant(pixels: NDArray[np.uint8], start: NDArray[np.float64], tol: float) -> _Found:
    import imagequant

    rgba = np.concatenate([pixels, np.full((len(pixels), 1), 255, np.uint8)], axis=1)
    indices, palette = imagequant.quantize_raw_rgba_bytes(
        rgba.tobytes(), len(pixels), 1, dithering_level=0.0, max_colors=len(start)
    )
    entries = np.array(palette, np.float64).reshape(-1, 4)[:, :3]
    labels = np.frombuffer(indices, np.uint8)
    return entries[: labels.max() + 1], labels, None


def _inertia(
    pixels: NDArray[np.uint8], centroids: NDArray[np.float64], labels: NDArray[Any]
) -> float:
    return float(((pixels - centroids[labels]) ** 2).sum())


def _as_png(
    pixels: NDArray[np.uint8], centroids: NDArray[np.float64], shape: tuple[int, int]
) -> tuple[float | None, int]:
    """Return the PSNR and the PNG bytes of the image, with each pixel in its nearest colour."""
    from kmeans_dask.kmeans.labels import nearest_labels

    palette = palette_of(centroids)
    indices = nearest_labels(pixels, palette.colors.astype(np.float64)).astype(np.uint8)
    apart = pixels.astype(np.int64) - palette.colors[indices]
    error = int((apart**2).sum()) * ERROR_UNITS
    return psnr(error, len(pixels)), len(encode_png(indices.reshape(shape), palette))
