"""Summaries of jobs, steps and stores in a few lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from kmeans_dask.files import Location
from kmeans_dask.job.fit_result import FitResult
from kmeans_dask.job.summary import IngestSummary, Summary, TokensSummary
from kmeans_dask.plan.changes import Changes
from kmeans_dask.plan.plan import Plan, describe_skipped
from kmeans_dask.steps.store_info import Info
from kmeans_dask.store.records import Failure
from kmeans_dask.store.tally import Tally
from kmeans_dask.text import decibels, printable, size

_NAMED = 20  # failures that are named, at most; --json and failures.jsonl have all

Row = tuple[str, str]


def show_summary(summary: Summary) -> RenderableType:
    """Return the summary of a job, or of the command `encode`, in lines of text."""
    rows = [
        (
            "images",
            f"{summary.images:,}: {summary.compressed:,} compressed, {summary.kept:,} kept, "
            f"{summary.failed:,} failed",
        ),
    ]
    counted = (
        (summary.below_target, "below target", "of the kept"),
        (summary.without_palette, "own colours", "of the kept: --always gives all the palette"),
        (summary.nine_patches, "nine-patches", "of the kept: their frame has to stay as it is"),
        (summary.private, "own palette", "of the compressed"),
        (summary.reindexed, "renumbered", "indexed, or of few greys: leave label masks out"),
        (
            summary.dim,
            "dark",
            f"of 16-bit samples, none above {summary.brightest} of 65535: add --white auto",
        ),
        (summary.outgrown, "larger", "than the input file, which is gone or has changed"),
        (summary.composited, "over white", "images with partial transparency"),
    )  # fmt: skip
    rows += _skipped(summary.skipped)
    rows += [(name, f"{n:,} {what}") for n, name, what in counted if n]
    rows += _changes(summary.changes)
    per_gb = summary.images_per_gb
    if per_gb:
        rows += _of_fit(summary)
        before, after = summary.input_bytes, summary.output_bytes
        rows += [
            *(_quality(summary) if summary.compressed else []),
            ("size", f"{size(before)} → {size(after)} ({100 * after / max(before, 1):.1f} %)"),
            ("images per GB", f"{per_gb[0]:,.0f} → {per_gb[1]:,.0f}"),
        ]
    return Group(table(rows, summary.seconds), *name_failures(summary.failures))


def _skipped(skipped: Mapping[str, int]) -> list[Row]:
    """Return a row with the numbers of skipped files, or no row where none was skipped."""
    return [("skipped", printable(describe_skipped(skipped)))] if skipped else []


def _quality(summary: Summary) -> list[Row]:
    """Return rows with the PSNR of the compressed images and, if any, their largest error."""
    rows = [("PSNR", decibels(summary.psnr))]
    if summary.lossy:
        alone = f"{decibels(summary.palette_psnr)} by the palette alone"
        rows = [
            ("PSNR", f"{decibels(summary.psnr)}, {alone}"),
            ("lossy", f"{summary.lossy:,} with indices that take fewer bytes"),
        ]
    if summary.weight is not None:
        rows.append(("weight of bits", f"{summary.weight:g}, as --lossy takes it"))
    if summary.ssimulacra2 is not None:
        rows.append(("SSIMULACRA2", f"{summary.score_in_words}, 100 for equal ones"))
    if summary.max_error_in is not None:
        where = printable(summary.max_error_in)
        rows.append(("largest error", f"{summary.max_error:.1f} of 255, in {where}"))
    return rows


def _changes(changes: Changes) -> list[Row]:
    """Return a row with the changes of the images since an earlier run; no row without changes."""
    if not changes:
        return []
    counts = (f"{len(paths):,} {kind}" for kind, paths in vars(changes).items())
    return [("since before", ", ".join(counts))]


def _of_fit(summary: Summary) -> list[Row]:
    """Return rows about the pixels and, where all images share a fitted palette, about its fit."""
    if summary.inertia is None:
        return [("pixels", f"{summary.pixels:,}")]
    ended = "" if summary.converged else ", stopped before convergence"
    few = " (all there are)" if summary.inertia == 0 else ""
    return [
        ("pixels", f"{summary.pixels:,} of {summary.distinct_colors:,} distinct colours"),
        ("palette", f"{summary.colors} colours{few}, {summary.iterations} iterations{ended}"),
        ("inertia", f"{summary.inertia:.6g}"),
        *(_drift(summary.fitted) if summary.fitted else []),
    ]


def show_finished(output: Location) -> RenderableType:
    """Return the text for a job in `output` that had been finished before."""
    return Text(f"{printable(str(output))} is finished already: nothing to do")


def show_tokens(tokens: TokensSummary) -> RenderableType:
    """Return the summary of a job that wrote tokens in lines of text."""
    rows = [
        ("images", f"{tokens.images:,} of {tokens.pixels:,} pixels, {tokens.failed:,} failed"),
        ("indices", f"indices/{tokens.fitted.name}, {tokens.dtype}"),
        *_fit(tokens.fitted),
    ]
    return Group(table(rows, tokens.seconds), *name_failures(tokens.failures))


def show_plan(plan: Plan) -> RenderableType:
    """Return a plan in lines of text: the images, partitions, skipped files and failures."""
    rows = [
        ("images", f"{plan.n_images:,} of {plan.n_pixels:,} pixels, {size(plan.n_bytes)}"),
        ("partitions", f"{len(plan.partitions):,}"),
    ]
    rows += _skipped(plan.skipped)
    return Group(table(rows), *name_failures(plan.failures))


def show_ingested(ingested: IngestSummary) -> RenderableType:
    """Return the summary of the command `ingest` in lines of text."""
    rows = _tally(ingested.tally, ingested.distinct_colors)
    rows.append(("failed", f"{ingested.failed:,}"))
    rows += _skipped(ingested.plan.skipped)
    rows += _changes(ingested.changes)
    return Group(table(rows, ingested.seconds), *name_failures(ingested.failures))


def show_fit(fitted: FitResult, seconds: Mapping[str, float]) -> RenderableType:
    """Return the result of the command `fit` in lines of text."""
    return table(_fit(fitted), seconds)


def _fit(fitted: FitResult) -> list[Row]:
    ended = "" if fitted.converged else ", stopped before convergence"
    target, found = fitted.settings.min_psnr, fitted.psnr
    missed = target is not None and found is not None and found < target
    return [
        ("palette", f"{fitted.name}: {len(fitted.palette)} colours"),
        ("iterations", f"{fitted.iterations}{ended}"),
        ("inertia", f"{fitted.inertia:.6g}"),
        (
            "palette PSNR",
            decibels(found) + (f", below the target of {target:g} dB" if missed else ""),
        ),
        *_drift(fitted),
    ]


def _drift(fitted: FitResult) -> list[Row]:
    """Return a row with the PSNR of the palette fitted before; no row where there was none."""
    if not fitted.drift:
        return []
    now, then = decibels(fitted.drift.now), decibels(fitted.drift.fitted)
    return [("palette before", f"PSNR {now} over these images, {then} when it was fitted")]


def show_info(info: Info) -> RenderableType:
    """Return the contents of a store in lines of text."""
    rows = [
        ("store", f"{printable(info.path)}, {size(info.n_bytes)}"),
        ("partitions", f"{info.partitions:,} of {info.of_partitions:,}"),
    ]
    if info.tally and info.distinct_colors is not None:
        rows += _tally(info.tally, info.distinct_colors)
        rows.append(("failed", f"{info.tally.failed:,}"))
    rows += [
        (
            f"palette {palette['palette']}",
            f"{palette['colors']} colours, {palette['iterations']} iterations, "
            f"inertia {palette['inertia']:.6g}, palette PSNR {decibels(palette['psnr'])}",
        )
        for palette in info.palettes
    ]
    rows.append(("made with", ", ".join(f"{k} {v}" for k, v in info.versions.items())))
    return table(rows)


def _tally(tally: Tally, distinct_colors: int) -> list[Row]:
    rows = [
        ("images", f"{tally.images:,} of {tally.pixels:,} pixels, {size(tally.n_bytes)}"),
        ("colours", f"{distinct_colors:,} distinct"),
    ]
    if tally.dim:
        rows.append(("dark", f"{tally.dim:,} images of dark 16-bit samples: add --white auto"))
    if tally.translucent:
        rows.append(("translucent", f"{tally.translucent:,} images with partial transparency"))
    return rows


def table(rows: Sequence[Row], seconds: Mapping[str, float] | None = None) -> RenderableType:
    """Return names and values in two columns, and in the last row the seconds of each step."""
    if seconds:
        steps = ", ".join(f"{step} {spent:.2f}" for step, spent in seconds.items())
        rows = [*rows, ("seconds", steps)]
    width = max(len(name) for name, _ in rows) + 2
    return Group(*(Text.assemble((f"{name:{width}}", "bold"), value) for name, value in rows))


def name_failures(failures: Sequence[Failure]) -> list[Text]:
    """Return a line for each of the first failures, and one with the number of the others."""
    lines = [
        Text(f"failed: {printable(failure.path)}: {printable(failure.reason)}", style="red")
        for failure in failures[:_NAMED]
    ]
    if len(failures) > _NAMED:
        lines.append(Text(f"... and {len(failures) - _NAMED:,} more", style="red"))
    return lines
