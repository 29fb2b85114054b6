"""Summaries of jobs, in figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from kmeans_dask.color.psnr import error_of_pixel, psnr
from kmeans_dask.job.encode_totals import EncodeTotals
from kmeans_dask.job.fit_result import FitResult
from kmeans_dask.job.gallery import Gallery
from kmeans_dask.job.notebook import NotebookTable, swatches, table
from kmeans_dask.job.progress import Progress
from kmeans_dask.plan.changes import Changes
from kmeans_dask.plan.plan import Plan
from kmeans_dask.store import Store
from kmeans_dask.store.records import Failure
from kmeans_dask.store.tally import Tally
from kmeans_dask.text import decibels, size

_GIGABYTE = 10**9
_LOOKED_AT = (
    "gallery",
    "fitted",
    "colors_bytes",
    "was_finished",
)  # fields that `as_dict` leaves out


@dataclass(frozen=True)
class Summary(NotebookTable):
    """Summary of a job: numbers of images, sizes, quality and times.

    Sizes and quality are those of the images in the output, as written.

    images: number of images found in the input: compressed, kept or failed
    compressed, kept, failed: images written with a palette, copied as they were, and neither
    below_target: kept images that would be worse than asked for with every palette tried
    nine_patches: kept images that are Android nine-patches, whose frame would have changed
    without_palette: images kept because they are smaller as they were, in a job with one palette
        for all images; their colours are not those of the palette
    private: compressed images with a palette of their own
    skipped: numbers of files that were passed over, by suffix, as in `plan.plan.Plan`
    composited: compressed images whose partly transparent pixels were laid over white
    reindexed: compressed images whose file had palette indices or few greys, which may be class
        labels: the numbers have been replaced by others
    dim: compressed images whose 16-bit samples use less than half of their range
    brightest: upper bound of the samples of these images
    outgrown: compressed images larger than their input file, which is gone or has changed
    pixels: number of pixels of the images in the output
    distinct_colors, colors, iterations, converged, inertia: figures of the shared palette and its
        fit; None where no palette was fitted for all images
    psnr: over the compressed images, without fully transparent pixels, in dB; None where nothing
        was lost
    palette_psnr: what it would be without lossy indices: where each pixel had its nearest entry
    lossy: compressed images with lossy indices, which take fewer bytes
    weight: weight of bits that was found for a total size; None where none was given
    ssimulacra2: mean SSIMULACRA2 score of compressed images, at most 100; None where none has one
    scored: number of images that it is the mean of: all where images were to be lossy, else some
    max_error: root mean square error of the worst of these pixels over its channels, 0 to 255
    max_error_in: the image with this pixel; None where nothing was lost
    input_bytes, output_bytes: bytes of the compressed and kept images, before and after
    seconds: seconds of each step
    failures: files that could not be read or written
    colors_bytes: bytes of memory that fitting a palette to an image or folder took in a worker, at
        most, by the model in `engine.memory_model`
    gallery: images and figures for the report
    fitted: the shared palette and its fit; None where no palette was fitted for all images
    changes: changes of the images since an earlier run, where the store was kept
    was_finished: whether an earlier run had finished the job, so that nothing was done
    """

    images: int
    compressed: int
    kept: int
    below_target: int
    nine_patches: int
    without_palette: int
    private: int
    failed: int
    skipped: Mapping[str, int]
    composited: int
    reindexed: int
    outgrown: int
    dim: int
    brightest: int
    pixels: int
    distinct_colors: int | None
    colors: int | None
    iterations: int | None
    converged: bool | None
    inertia: float | None
    psnr: float | None
    palette_psnr: float | None
    lossy: int
    weight: float | None
    ssimulacra2: float | None
    scored: int
    max_error: float
    max_error_in: str | None
    input_bytes: int
    output_bytes: int
    seconds: Mapping[str, float]
    failures: tuple[Failure, ...]
    colors_bytes: int
    gallery: Gallery
    fitted: FitResult | None
    changes: Changes = field(default_factory=Changes)
    was_finished: bool = False

    @classmethod
    def of_figures(cls, figures: Mapping[str, Any]) -> Summary:
        """Return the summary of a job that was finished before, from its figures (`as_dict`).

        Raises LookupError or TypeError where they are not of this form.
        """
        given: dict[str, Any] = {each.name: figures.get(each.name) for each in fields(cls)}
        return cls(
            **given
            | {
                "skipped": figures["skipped_by_suffix"],
                "failures": tuple(Failure(**failure) for failure in figures["failures"]),
                "scored": figures.get("scored") or 0,
                "colors_bytes": 0,
                "gallery": Gallery(),
                "fitted": None,
                "changes": Changes(),
                "was_finished": True,
            }
        )

    def _repr_html_(self) -> str:
        before, after = self.images_per_gb or (0.0, 0.0)
        part = f"{100 * self.output_bytes / max(1, self.input_bytes):.1f} %"
        figures = {
            "images": self.images,
            "compressed": self.compressed,
            "kept as they were": self.kept or None,
            "failed": self.failed or None,
            "bytes": f"{size(self.input_bytes)} before, {size(self.output_bytes)} after: {part}",
            "images per GB": f"{before:,.0f} before, {after:,.0f} after",
            "PSNR": decibels(self.psnr),
            "SSIMULACRA2": None if self.ssimulacra2 is None else self.score_in_words,
            "distinct colors": self.distinct_colors,
            "time": f"{sum(self.seconds.values()):.1f} s",
            "failures": [asdict(failure) for failure in self.failures],
        }
        palette = swatches(self.fitted.palette.entries) if self.fitted else ""
        return table(figures) + palette

    @property
    def score_in_words(self) -> str:
        """Return the mean score with the number of its images; they must have been scored."""
        images = f"{self.scored:,} images" if self.scored != 1 else "1 image"
        return f"{self.ssimulacra2:.1f} on average of {images}"

    @property
    def images_per_gb(self) -> tuple[float, float] | None:
        """Return how many such images 10^9 bytes hold, before and after; None without images."""
        n = self.compressed + self.kept
        if not n:
            return None
        sizes = self.input_bytes, self.output_bytes
        before, after = (_GIGABYTE * n / max(1, size) for size in sizes)
        return before, after

    def as_dict(self) -> dict[str, Any]:
        """Return the summary ready for JSON, without the gallery and the palette."""
        before, after = self.images_per_gb or (None, None)
        figures = {name: vars(self)[name] for name in vars(self) if name not in _LOOKED_AT}
        return figures | {
            "skipped": sum(self.skipped.values()),
            "skipped_by_suffix": dict(self.skipped),
            "failures": [asdict(failure) for failure in self.failures],
            "changes": {name: len(paths) for name, paths in vars(self.changes).items()},
            "drift": self.fitted and self.fitted.drift and asdict(self.fitted.drift),
            "images_per_gb": {"before": before, "after": after},
        }


@dataclass(frozen=True)
class IngestSummary(NotebookTable):
    """Summary of an ingestion.

    tally: sums over all images that are in the store now
    distinct_colors: number of distinct colours in the store now, without fully transparent pixels
    failures: failures of this run
    changes: changes of the images since an earlier run
    seconds: seconds of each step
    """

    store: Store
    plan: Plan
    tally: Tally
    distinct_colors: int
    failures: tuple[Failure, ...]
    changes: Changes
    seconds: Mapping[str, float]

    @property
    def failed(self) -> int:
        """Return the number of images that could not be read, in this run or an earlier one."""
        return self.tally.failed + len(self.plan.failures)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures and failures of the ingestion, ready for JSON."""
        return {
            "images": self.tally.images + self.failed,
            "failed": self.failed,
            "changes": {name: len(paths) for name, paths in vars(self.changes).items()},
            "skipped": sum(self.plan.skipped.values()),
            "skipped_by_suffix": dict(self.plan.skipped),
            "translucent": self.tally.translucent,
            "dim": self.tally.dim,
            "pixels": self.tally.pixels,
            "distinct_colors": self.distinct_colors,
            "input_bytes": self.tally.n_bytes,
            "seconds": self.seconds,
            "failures": [asdict(failure) for failure in self.failures],
        }


@dataclass(frozen=True)
class TokensSummary(NotebookTable):
    """Summary of a job that wrote tokens: each pixel as the index of a palette's colour.

    images: number of images that could be read
    failed: number of images that could not be read
    skipped: numbers of files that were passed over, by suffix, as in `plan.plan.Plan`
    pixels: number of pixels of the images that could be read
    dtype: NumPy type of an index
    fitted: the palette and its fit
    seconds: seconds of each step
    """

    images: int
    failed: int
    skipped: Mapping[str, int]
    pixels: int
    dtype: str
    fitted: FitResult
    seconds: Mapping[str, float]
    failures: tuple[Failure, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the summary, with the figures of the palette, ready for JSON."""
        fields = {name: value for name, value in vars(self).items() if name != "fitted"}
        failures = [asdict(failure) for failure in self.failures]
        skipped = {
            "skipped": sum(self.skipped.values()),
            "skipped_by_suffix": dict(self.skipped),
        }
        return {**fields, **skipped, **self.fitted.as_dict(), "failures": failures}


def summarize(
    encoded: EncodeTotals,
    progress: Progress,
    skipped: Mapping[str, int],
    fitted: FitResult | None = None,
    *,
    one_palette: bool,
) -> Summary:
    """Return the summary of a job, from the result of encoding and the times of the steps.

    one_palette: whether all images were to have the same palette
    """
    smaller = encoded.kept - encoded.below_target - encoded.nine_patches
    return Summary(
        images=encoded.images + len(encoded.failures),
        compressed=encoded.compressed,
        kept=encoded.kept,
        below_target=encoded.below_target,
        nine_patches=encoded.nine_patches,
        without_palette=smaller if one_palette else 0,
        private=encoded.private,
        failed=len(encoded.failures),
        skipped=skipped,
        composited=encoded.composited,
        reindexed=encoded.reindexed,
        outgrown=encoded.outgrown,
        dim=encoded.dim,
        brightest=encoded.brightest,
        pixels=encoded.all_pixels,
        distinct_colors=fitted.distinct_colors if fitted else None,
        colors=len(fitted.palette) if fitted else None,
        iterations=fitted.iterations if fitted else None,
        converged=fitted.converged if fitted else None,
        inertia=fitted.inertia if fitted else None,
        psnr=psnr(encoded.squared_error, encoded.pixels),
        palette_psnr=psnr(encoded.palette_error, encoded.pixels),
        lossy=encoded.lossy,
        weight=None,
        ssimulacra2=encoded.score / 1000 / encoded.scored if encoded.scored else None,
        scored=encoded.scored,
        max_error=error_of_pixel(encoded.largest_error),
        max_error_in=encoded.largest_in or None,
        input_bytes=encoded.input_bytes,
        output_bytes=encoded.output_bytes,
        seconds=dict(progress.seconds),
        failures=encoded.failures,
        colors_bytes=encoded.colors_bytes,
        gallery=encoded.gallery,
        fitted=fitted,
    )
