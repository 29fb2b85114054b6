"""Search for the weight of bits with which all images of a job together take a number of bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kmeans_dask.color.byte_budget import WELL_SPENT, spend_bytes
from kmeans_dask.engine import Engine
from kmeans_dask.errors import UsageError
from kmeans_dask.files.atomic_files import remove
from kmeans_dask.job.job_settings import JobSettings
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.summary import Summary
from kmeans_dask.job.work_folder import Attempt, WorkFolder
from kmeans_dask.plan.plan import Plan
from kmeans_dask.steps.collection import Collection, recreate
from kmeans_dask.steps.compress import compress
from kmeans_dask.steps.estimate import predicted_bytes, sample_of
from kmeans_dask.text import size

_FIRST = 4.0  # weight that is tried first
_LARGE = 4  # times the pixels of a sample, from which on the sample is tried first


@dataclass(frozen=True)
class _Trial:
    """Job that is tried with different weights of bits, in a temporary folder.

    most: bytes that all its images may take
    keep_palette: use the palette that a store has, and fit none
    """

    work: WorkFolder
    engine: Engine
    progress: Progress
    settings: JobSettings
    most: int
    keep_palette: bool

    def run(self, plan: Plan, weight: float, of_colors: float, held: Collection | None) -> Summary:
        """Return the summary of the job with a weight, whose files are removed again.

        of_colors: weight that the number of colours of a palette of one image is chosen with
        held: store of the images; None where there is none yet
        """
        folder = self.work.path / "attempt"
        remove(folder)  # of a run that was killed
        trial = WorkFolder(folder, {})
        try:
            trial.path.mkdir(parents=True)
            trial.begin()
            weighted = with_weight(self.settings, weight, of_colors)
            return compress(
                plan,
                trial,
                self.engine,
                self.progress,
                weighted,
                held,
                keep_palette=self.keep_palette and held is not None,
            )
        finally:
            remove(folder)


def with_weight(settings: JobSettings, weight: float, of_colors: float) -> JobSettings:
    """Return the settings with a weight of bits, and one for the choice of the colours."""
    encode = replace(settings.encode, lossy=weight, colors_weight=of_colors)
    return replace(settings, encode=encode)


def spend_total_size(
    plan: Plan,
    work: WorkFolder,
    engine: Engine,
    progress: Progress,
    settings: JobSettings,
    collection: Collection | None = None,
    *,
    keep_palette: bool = False,
) -> JobSettings:
    """Return the settings with the weight of bits for the images to take their total size.

    The images take at most `settings.encode.total_size` bytes, and at least 99 % of it where some
    weight does that. All images are compressed with several weights, and many only with a few:
    then a sample is tried first. What each attempt took is kept in the work folder of the job, so
    that a job that is resumed tries no weight again.

    Raises UsageError where the images take more with any weight.
    """
    most = settings.encode.most_bytes(plan.n_pixels)
    trial = _Trial(work, engine, progress, settings, most, keep_palette)
    held = collection
    if held is None and settings.is_shared:  # so that images are decoded, and colours fitted, once
        held = recreate(work.store_path, plan, settings.decode)
    attempts = work.attempts(plan.as_record(), settings.encode)

    def measure(weight: float, of_colors: float) -> int:
        for each in attempts.read():
            if (each.weight, each.of_colors) == (weight, of_colors):
                return each.n_bytes
        n_bytes = trial.run(plan, weight, of_colors, held).output_bytes
        attempts.add(Attempt(weight, of_colors, n_bytes))
        return n_bytes

    first = _first_weight(plan, trial)
    found = spend_bytes(lambda weight: measure(weight, weight), most, first)
    if found is None:
        least = min(each.n_bytes for each in attempts.read())
        raise UsageError(
            f"--total-size is {size(most)}, and these images take at least {size(least)}: "
            "raise it, or lower --colors"
        )
    of_colors = found.weight
    if found.n_bytes < WELL_SPENT * most and found.weight:
        # Numbers of colours change by halves, which can leave a gap in the bytes of a few images:
        # they stay as they are with the next smaller weight, and only the indices change.
        larger = [each.weight for each in attempts.read() if each.n_bytes > most]
        of_colors = max(weight for weight in larger if weight < found.weight)
        other = spend_bytes(lambda weight: measure(weight, of_colors), most, found.weight)
        if other and other.n_bytes > found.n_bytes:
            found = other
        else:
            of_colors = found.weight
    return with_weight(settings, found.weight, of_colors)


def _first_weight(plan: Plan, trial: _Trial) -> float:
    """Return the weight to begin with: that of a sample of the images, where there are many."""
    sample = sample_of(plan)
    if plan.n_pixels < _LARGE * sample.plan.n_pixels:
        return _FIRST

    def measure(weight: float) -> int:
        rows = trial.run(sample.plan, weight, weight, None).gallery.rows
        return predicted_bytes(rows, sample.certain, plan.n_bytes)[0]

    found = spend_bytes(measure, trial.most, _FIRST)
    return found.weight if found and found.weight else _FIRST
