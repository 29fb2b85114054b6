"""Choice between an image's plain indices and its lossy ones, which take fewer bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.lossy_indices import choose_indices, passes_of
from kmeans_dask.color.palette import Palette
from kmeans_dask.settings import EncodeSettings, FitSettings
from kmeans_dask.steps.write_image import RemappedImage, encode_remapped
from kmeans_dask.store import Piece
from kmeans_dask.store.records import ImageRecord

_LEAST_GAIN = 0.02  # part of the plain file's bytes, below which lossy indices are not worth it


def smaller_image(
    record: ImageRecord,
    pixels: Piece,
    plain: RemappedImage,
    settings: EncodeSettings,
    fit: FitSettings,
) -> RemappedImage:
    """Return an image with lossy indices, or as it is where these save less than 2 % of its bytes.

    pixels: all pixels of the image, with their alphas
    plain: the image with the nearest entry for each pixel
    fit: settings of the palette: its colour space, its fixed colours, and the quality to reach

    The image stays as it is, too, where lossy indices would take it below `fit.min_psnr`, or would
    change the frame of a nine-patch.
    """
    if not settings.lossy:
        return plain
    free = free_entries(plain.palette, len(fit.fixed)) if plain.private else None
    found = choose_indices(
        *pixels,
        record.width,
        plain.indices.ravel(),
        plain.palette,
        fit.space,
        settings.lossy,
        passes_of(settings.effort),
        free,
    )
    lossy = RemappedImage.of(record, *pixels, found.indices, found.palette, private=plain.private)
    if not lossy.has_frame or not lossy.reaches(fit.min_psnr):
        return plain
    plain = replace(plain, file=encode_remapped(record, plain, settings))
    lossy = replace(lossy, file=encode_remapped(record, lossy, settings))
    assert plain.file is not None
    assert lossy.file is not None
    if len(lossy.file) > (1 - _LEAST_GAIN) * len(plain.file):
        return plain
    return replace(lossy, palette_error=plain.squared_error)


def free_entries(palette: Palette, n_fixed: int) -> NDArray[np.bool_]:
    """Return which entries of a palette, made for an image, may move: those that are not fixed.

    n_fixed: number of fixed colours, which are the first entries after the clear one
    """
    free = palette.entries[:, 3] > 0
    free[palette.numbers[:n_fixed]] = False
    return free
