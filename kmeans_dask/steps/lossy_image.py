"""Choice between an image's plain indices and lossy ones, which take fewer bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import ERROR_UNITS, squared_errors
from kmeans_dask.color.lossy_formats import choose_for_format
from kmeans_dask.color.lossy_pixels import LossyImage
from kmeans_dask.color.lossy_search import Weighted, find_weight, refine
from kmeans_dask.color.palette import Palette
from kmeans_dask.color.psnr import squared_limit
from kmeans_dask.settings import EncodeSettings, FitSettings, Targets
from kmeans_dask.steps.write_image import RemappedImage, encode_remapped
from kmeans_dask.store import Piece
from kmeans_dask.store.records import ImageRecord

_LEAST_GAIN = 0.02  # part of the plain file's bytes, below which lossy indices are not worth it
_LEAST_COLORS = 2


class _Quick(NamedTuple):
    """Image with the nearest entries, and with lossy indices where these reach the targets.

    Both have their files.
    """

    plain: RemappedImage
    lossy: Weighted[RemappedImage] | None

    @property
    def image(self) -> RemappedImage:
        """Return the image with the most loss."""
        return self.lossy.image if self.lossy else self.plain


@dataclass(frozen=True)
class LossyImages:
    """Lossy forms of an image, which are compared with its plain form.

    pixels: all pixels of the image, with their alphas
    settings: how images are written; `lossy` is not 0
    fit: settings of the palette: its colour space, its fixed colours, and the quality to reach
    refit: function that returns the image with a palette of so many colours, made for it alone;
        None where the palette is shared
    """

    record: ImageRecord
    pixels: Piece
    settings: EncodeSettings
    fit: FitSettings
    refit: Callable[[int], RemappedImage] | None = None

    def smaller(self, plain: RemappedImage) -> RemappedImage:
        """Return the image with lossy indices, or `plain` where they save less than 2 % of bytes.

        plain: the image with the nearest entry for each pixel

        Where all images together have a number of bytes to take, any saving will do. The image
        stays as it is, too, where lossy indices would miss a target that
        it reaches, or would change the frame of a nine-patch.
        """
        plain = self._scored(plain)
        if not self._is_good(plain):
            return plain
        plain = self._with_file(plain)
        best = self._most_lossy(plain) if self.settings.lossy == "auto" else self._lossy(plain)
        least = _LEAST_GAIN if self.settings.colors_weight is None else 0.0
        return best if _n_bytes(best) <= (1 - least) * _n_bytes(plain) else plain

    def _lossy(self, plain: RemappedImage) -> RemappedImage:
        """Return the image with the given weight of bits, or `plain` where it misses a target."""
        assert not isinstance(self.settings.lossy, str)
        if self.refit and self.settings.colors_weight is not None:
            plain = self._with_fewer_colors(plain, self.settings.colors_weight)
        image = self._chooser(plain)(self.settings.lossy, self.settings.effort)
        return self._with_file(image) if self._is_good(image) else plain

    def _with_fewer_colors(self, plain: RemappedImage, weight: float) -> RemappedImage:
        """Return `plain` with as many colours as have the least error and weighted bits.

        Half as many are tried while that is less, so that images of much noise get fewer colours.
        Only the passes of the least effort are done.
        """

        def cost_of(image: RemappedImage) -> float:
            return _cost(self._with_file(self._chooser(image)(weight, 0)), weight)

        least = cost_of(plain)
        for fewer in self._with_halves(plain):
            cost = cost_of(fewer)
            if cost >= least:
                break
            plain, least = fewer, cost
        return plain

    def _with_halves(self, plain: RemappedImage) -> Iterator[RemappedImage]:
        """Yield the image with half as many colours, again and again, each nearest to its pixel."""
        k = len(plain.palette.numbers) // 2
        while self.refit and k >= max(_LEAST_COLORS, len(self.fit.fixed)):
            yield self._scored(self.refit(k))
            k //= 2

    def _most_lossy(self, plain: RemappedImage) -> RemappedImage:
        """Return the image with all the loss that the targets allow, which may be none.

        Where the palette is the image's own, half as many colours are tried while that makes the
        file smaller: an image of much noise gains more by fewer colours than by lossy indices.
        """
        best = self._quickly(plain)
        for fewer in self._with_halves(plain):
            if not self._is_good(fewer):
                break
            found = self._quickly(fewer)
            if _n_bytes(found.image) >= _n_bytes(best.image):
                break
            best = found
        if best.lossy is None:
            return best.plain
        choose, effort = self._chooser(best.plain), self.settings.effort
        refined = self._with_file(refine(best.lossy, choose, self._is_good, effort))
        return min(refined, best.image, key=_n_bytes)

    def _quickly(self, plain: RemappedImage) -> _Quick:
        """Return the image with all the loss that the targets allow, by the quickest passes."""
        found = find_weight(self._chooser(plain), self._is_good)
        lossy = found and found._replace(image=self._with_file(found.image))
        return _Quick(self._with_file(plain), lossy)

    def _chooser(self, plain: RemappedImage) -> Callable[[float, int], RemappedImage]:
        """Return a function of weight and effort that returns `plain` with lossy indices."""
        free = free_entries(plain.palette) if plain.private else None

        def choose(weight: float, effort: int) -> RemappedImage:
            found = choose_for_format(
                self.settings.format,
                effort,
                *self.pixels,
                self.record.width,
                plain.indices.ravel(),
                plain.palette,
                self.fit.space,
                weight,
                free,
            )
            indices = self._within_limit(found, plain)
            lossy = RemappedImage.of(
                self.record, *self.pixels, indices, found.palette, private=plain.private
            )
            return self._scored(replace(lossy, palette_error=plain.squared_error))

        return choose

    def _within_limit(self, found: LossyImage, plain: RemappedImage) -> NDArray[np.uint8]:
        """Return the indices, with the nearest ones for pixels whose error would be too large."""
        most = self.fit.max_error
        if most is None:
            return found.indices
        errors = squared_errors(*self.pixels, found.indices, found.palette.entries)
        return np.where(errors > squared_limit(most), plain.indices.ravel(), found.indices)

    def _is_good(self, image: RemappedImage) -> bool:
        return image.has_frame and image.reaches(Targets.of(self.fit, self.settings))

    def _scored(self, image: RemappedImage) -> RemappedImage:
        """Return the image with its score, where the score decides whether it is good enough."""
        return image if self.settings.min_ssimulacra2 is None else image.scored(*self.pixels)

    def _with_file(self, image: RemappedImage) -> RemappedImage:
        return replace(image, file=encode_remapped(self.record, image, self.settings))


def free_entries(palette: Palette) -> NDArray[np.bool_]:
    """Return which entries of a palette, made for an image, may move: those that are not fixed."""
    free = palette.entries[:, 3] > 0
    free[palette.numbers[: palette.fixed]] = False
    return free


def _cost(image: RemappedImage, weight: float) -> float:
    """Return the squared error of an image and its bits, each worth `weight` of squared error."""
    return image.squared_error / ERROR_UNITS + 8 * weight * _n_bytes(image)


def _n_bytes(image: RemappedImage) -> int:
    return len(image.file or b"")
