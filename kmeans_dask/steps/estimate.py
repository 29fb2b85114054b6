"""Estimate of a job from a sample of its images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from kmeans_dask.color.psnr import psnr, squared_error_of
from kmeans_dask.engine import Engine
from kmeans_dask.engine.memory_model import bytes_to_decode, bytes_to_fit
from kmeans_dask.job.gallery import ImageRow
from kmeans_dask.job.job_settings import JobSettings
from kmeans_dask.job.notebook import NotebookTable
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.summary import Summary
from kmeans_dask.job.work_folder import WorkFolder
from kmeans_dask.kmeans.morton_codes import N_CODES
from kmeans_dask.plan.plan import Plan, Source, cut, numbered
from kmeans_dask.settings import PARTITION_PIXELS
from kmeans_dask.steps.advice import share_as_lossy_webp
from kmeans_dask.steps.compress import compress
from kmeans_dask.store.records import Failure

_IMAGES = 120  # images of a sample, at most about
_SURE = 1.96  # standard errors on either side of a mean: holds 95 times of 100


@dataclass(frozen=True)
class Estimate(NotebookTable):
    """Prediction of the result of a job, with margins of error that hold 95 times of 100.

    images, pixels, input_bytes: of the whole collection
    sampled: number of images that were compressed for the prediction
    output_bytes: predicted bytes of the whole output
    bytes_off: margin of error of `output_bytes`
    psnr: predicted over the pixels of all compressed images, in dB, as in the summary of a job;
        None where nothing is lost
    psnr_off: margin of error of `psnr`, in dB
    ssimulacra2: predicted mean SSIMULACRA2 score of the compressed images, at most 100; None where
        no image of the sample has one
    ssimulacra2_off: margin of error of `ssimulacra2`
    scored: number of images of the sample that it was predicted from
    webp_bytes: predicted bytes as lossy WebP of the same PSNR, from some images of the sample; None
        where it does not reach that quality, or nothing is lost
    seconds: predicted for the whole job, on as many workers as the sample had, start-up left out
    worker_bytes: bytes of memory that a worker takes at most, by the model of `--memory-limit`
    failures: images of the collection without a readable header, and images of the sample that
        failed
    """

    images: int
    pixels: int
    input_bytes: int
    sampled: int
    output_bytes: int
    bytes_off: int
    psnr: float | None
    psnr_off: float
    ssimulacra2: float | None
    ssimulacra2_off: float
    scored: int
    webp_bytes: int | None
    seconds: float
    worker_bytes: int
    failures: tuple[Failure, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return all figures, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Sample:
    """Sample of the images of a plan: all of the largest, and others drawn by their bytes.

    certain: names of the largest images, which are in any sample
    """

    plan: Plan
    certain: frozenset[str]


def sample_of(plan: Plan, images: int = _IMAGES) -> Sample:
    """Return a sample of at most about `images` images of `plan`.

    Images are drawn by systematic sampling with probability proportional to size (Cochran 1977,
    "Sampling Techniques", section 9A.5): one in each run of so many bytes, from small files to
    large.
    """
    rest = sorted(plan.sources, key=lambda source: (source.n_bytes, source.path))
    some: list[Source] = []
    while rest:
        step = sum(source.n_bytes for source in rest) / max(1, images - len(some))
        if images > len(some) and rest[-1].n_bytes < step:
            break
        some.append(rest.pop())  # it could be drawn twice: it is in any sample
    certain = frozenset(source.kept_as for source in some)
    until = step / 2 if rest else 0.0
    for source in rest:
        until -= source.n_bytes
        if until < 0:
            some.append(source)
            until += step
    some.sort(key=lambda source: source.kept_as)
    pixels = max(1, min(PARTITION_PIXELS, sum(source.n_pixels for source in some) // 8))
    partitions = numbered(cut(some, pixels))
    return Sample(replace(plan, partitions=partitions, failures=(), skipped={}), certain)


def estimate(
    plan: Plan,
    sample: Sample,
    work: WorkFolder,
    engine: Engine,
    progress: Progress,
    settings: JobSettings,
) -> Estimate:
    """Return the estimate of a job over `plan`, scaled up from the compression of `sample`.

    The sample is compressed into the output of `work`, which may be removed afterwards.
    """
    done = dict(progress.seconds)
    summary = compress(sample.plan, work, engine, progress, settings)
    spent = {step: s - done.get(step, 0.0) for step, s in progress.seconds.items()}
    rows = summary.gallery.rows
    n_bytes, off = predicted_bytes(rows, sample.certain, plan.n_bytes)
    quality, quality_off = _quality(rows, sample.certain, plan.n_bytes)
    score, score_off = _score(rows, sample.certain, plan.n_bytes)
    webp = share_as_lossy_webp(rows, engine, settings.decode)
    # A fit takes longer with more distinct colours, which grow more slowly than the pixels; the
    # time of all other steps is proportional to the pixels.
    share = plan.n_pixels / max(1, sample.plan.n_pixels)
    fixed = spent.get("fit", 0.0) * math.sqrt(share)
    moving = sum(s for step, s in spent.items() if step not in ("fit", "plan", "start"))
    return Estimate(
        images=plan.n_images,
        pixels=plan.n_pixels,
        input_bytes=plan.n_bytes,
        sampled=len(rows),
        output_bytes=n_bytes,
        bytes_off=off,
        psnr=quality,
        psnr_off=quality_off,
        ssimulacra2=score,
        ssimulacra2_off=score_off,
        scored=summary.scored,
        webp_bytes=None if webp is None else round(webp * n_bytes),
        seconds=fixed + moving * share,
        worker_bytes=max(_bytes_to_decode(plan), _bytes_of_colors(summary, plan, share, settings)),
        failures=tuple(sorted([*plan.failures, *summary.failures], key=lambda f: f.path)),
    )


def _bytes_to_decode(plan: Plan) -> int:
    """Return the memory, in bytes, that a worker takes at most to decode any image of `plan`."""
    return max(bytes_to_decode(each.n_pixels, each.pixel_bytes) for each in plan.sources)


def _bytes_of_colors(summary: Summary, plan: Plan, share: float, settings: JobSettings) -> int:
    """Return the memory, in bytes, that a worker takes at most to fit the palettes of a job.

    share: how many times as many pixels the collection has as its sample

    A collection is taken to have at most `share` times the distinct colours of its sample. Where
    each image has its own palette, the sample has all of the largest images: nothing is scaled.
    """
    needed, fitted = summary.colors_bytes, summary.fitted
    if fitted:
        n_colors = min(math.ceil(share * fitted.distinct_colors), plan.n_pixels)
        opaque = fitted.palette.alphas is None
        if opaque:
            n_colors = min(n_colors, N_CODES)
        needed = max(needed, bytes_to_fit(n_colors, opaque=opaque))
    elif settings.scope == "folder":  # the sample has only some images of each folder
        alone = bytes_to_fit(0, opaque=True)
        needed = alone + math.ceil(share * max(0, needed - alone))
    return needed


def predicted_bytes(
    rows: Sequence[ImageRow], certain: frozenset[str], input_bytes: int
) -> tuple[int, int]:
    """Return the predicted output bytes of all images, and the margin of error.

    Bytes are known of the certain images; those of the others are estimated from the mean ratio of
    output to input.
    """
    known = [row for row in rows if row.name in certain]
    drawn = [row.ratio for row in rows if row.name not in certain]
    after = float(sum(row.output_bytes for row in known))
    left = input_bytes - sum(row.input_bytes for row in known)
    ratio, off = _mean(drawn)
    return round(after + left * (ratio or 0.0)), math.ceil(left * off)


def _quality(
    rows: Sequence[ImageRow], certain: frozenset[str], input_bytes: int
) -> tuple[float | None, float]:
    """Return the PSNR over all compressed images and its margin of error, in dB.

    The PSNR is None where nothing is lost. Squared errors and pixels are known of the certain
    images; those of the others are estimated from their means per input byte. The margin is that of
    a ratio estimator (Cochran 1977, section 6.4).
    """
    errors = {row.name: squared_error_of(row.psnr, row.pixels) for row in rows}
    known = [row for row in rows if row.name in certain]
    drawn = [row for row in rows if row.name not in certain]
    left = input_bytes - sum(row.input_bytes for row in known)
    error = math.fsum(errors[row.name] for row in known)
    pixels = float(sum(row.pixels for row in known))
    error += left * (_mean([errors[row.name] / row.input_bytes for row in drawn])[0] or 0.0)
    pixels += left * (_mean([row.pixels / row.input_bytes for row in drawn])[0] or 0.0)
    if not error:
        return None, 0.0
    mean = error / pixels
    _, off = _mean([(errors[row.name] - mean * row.pixels) / row.input_bytes for row in drawn])
    return psnr(error, pixels), 10 * math.log10(1 + left * off / error)


def _score(
    rows: Sequence[ImageRow], certain: frozenset[str], input_bytes: int
) -> tuple[float | None, float]:
    """Return the mean score of all compressed images and its margin of error; None without scores.

    Each image of the sample stands for as many as there are bytes of input for each drawn one. Some
    images of the sample have scores, in effect chosen at random: the margin is 0 where all that are
    compressed have one, and are all there are.
    """
    drawn = [row for row in rows if row.name not in certain]
    left = input_bytes - sum(row.input_bytes for row in rows if row.name in certain)
    scores, weights = [], []
    for row in rows:
        if row.score is not None:
            scores.append(row.score)
            is_certain = row.name in certain
            weights.append(1.0 if is_certain else left / (len(drawn) * row.input_bytes))
    if not scores:
        return None, 0.0
    total = math.fsum(weights)
    pairs = list(zip(weights, scores, strict=True))
    mean = math.fsum(weight * score for weight, score in pairs) / total
    compressed = sum(row.status == "compressed" for row in rows)
    n = len(scores)
    if n < 2 or (n == compressed and not drawn):
        return mean, 0.0
    spread = math.fsum((weight * (score - mean)) ** 2 for weight, score in pairs)
    return mean, _SURE * math.sqrt(spread * n / (n - 1)) / total


def _mean(values: Sequence[float]) -> tuple[float | None, float]:
    """Return the mean of `values`, or None where there are none, and its margin of error."""
    if not values:
        return None, 0.0
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, 0.0
    spread = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, _SURE * math.sqrt(spread / len(values))
