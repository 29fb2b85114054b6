"""Files that nobody should have to open: each has an outcome, and harms no other."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.job.job_record import read_record
from tests.command import run_here, tree
from tests.reliability.faults import Faults
from tests.reliability.figures import Figures
from tests.reliability.jobs import peaks_while_at_work, started
from tests.reliability.pictures import picture, save_pictures

Times = Callable[[int, int], int]
BUDGET = 800  # MB for each worker

BASES: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "png": (("RGB", {}), ("RGBA", {}), ("P", {}), ("1", {}), ("LA", {}), ("I;16", {})),
    "jpg": (("RGB", {}), ("L", {}), ("CMYK", {}), ("RGB", {"progressive": True})),
    "webp": (("RGB", {}), ("RGBA", {"lossless": True}), ("RGBA", {})),
    "gif": (("P", {}), ("L", {})),
    "tif": (
        ("RGB", {}), ("RGBA", {"compression": "tiff_lzw"}), ("L", {"compression": "packbits"}),
        ("RGB", {"compression": "tiff_deflate"}), ("RGB", {"compression": "jpeg"}),
        ("1", {"compression": "group4"}), ("I;16", {}), ("CMYK", {}), ("LAB", {}),
    ),
    "bmp": (("RGB", {}), ("P", {}), ("1", {})),
    "ppm": (("RGB", {}), ("L", {}), ("1", {})),
    "jp2": (("RGB", {}), ("RGBA", {}), ("L", {})),
    "avif": (("RGB", {}), ("RGBA", {})),
}  # fmt: skip


def base_images(rng: np.random.Generator) -> list[tuple[str, bytes]]:
    """A small image in every format that is read, and in all its variants; with their suffixes."""
    found = []
    for suffix, variants in BASES.items():
        for mode, options in variants:
            plain = picture(rng, "RGBA" if mode == "RGBA" else "RGB", 32)
            if mode == "I;16":
                samples = np.asarray(plain.convert("L"), np.uint16) * 257
                image = Image.fromarray(samples)
            else:
                image = plain if mode == plain.mode else plain.convert(mode)
            file = io.BytesIO()
            kinds = {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}
            image.save(file, kinds.get(suffix, suffix.upper()), **options)
            found.append((suffix, file.getvalue()))
    return found


def mutated(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """A file of which something is not as it was."""
    kind = rng.choice(["flip", "flip in header", "cut", "splice", "insert", "repeat"])
    place = int(rng.integers(len(data)))
    if kind.startswith("flip"):
        changed = bytearray(data)
        end = len(data) if kind == "flip" else min(len(data), 64)
        for at in rng.integers(end, size=rng.integers(1, 12)):
            changed[at] ^= 1 << rng.integers(8)
        return bytes(changed)
    if kind == "cut":
        return data[:place]
    if kind == "splice":
        return other[: int(rng.integers(4, 64))] + data[place:]
    if kind == "insert":
        return data[:place] + rng.bytes(int(rng.integers(1, 40))) + data[place:]
    return data[:place] + data[place // 2 :]


def assert_each_has_an_outcome(files: Path, out: Path, *words: str) -> tuple[int, int, float]:
    """Compress them; returns how many are done, how many not, and the peak memory of a worker."""
    n = sum(1 for path in files.rglob("*") if path.is_file())
    memory = ("--memory-limit", f"{BUDGET}MB", "--image-timeout", "20", "--workers", "2")
    code, peaks, said = peaks_while_at_work("compress", files, out, "-k", "16", *memory, *words)
    assert code in (0, 1), said
    assert "Traceback" not in said
    # libtiff and its decoders have their own say on stderr, which Pillow cannot keep from it
    assert not [line for line in said.splitlines() if line.startswith("kmeans-dask:")]
    summary = read_record(out)["summary"]
    done = summary["compressed"] + summary["kept"]
    assert done + summary["failed"] + summary["skipped"] == n
    lines = (out / "failures.jsonl").read_text().splitlines() if summary["failed"] else []
    failures = [json.loads(line) for line in lines]
    assert len(failures) == summary["failed"]
    assert all(each["reason"].strip() and "\n" not in each["reason"] for each in failures)
    assert peaks
    assert max(peaks.values()) < BUDGET
    return done, len(failures), max(peaks.values())


def test_files_that_are_not_as_they_were_written_have_an_outcome_each(
    tmp_path: Path, times: Times, figures: Figures
) -> None:
    rng = np.random.default_rng(12)
    bases = base_images(rng)
    n = times(40, 500)
    (tmp_path / "in").mkdir()
    for number in range(n):
        suffix, data = bases[number % len(bases)]
        _, other = bases[rng.integers(len(bases))]
        path = tmp_path / "in" / f"{number:06d}.{suffix}"
        path.write_bytes(mutated(rng, data, other))
    save_pictures(tmp_path / "in" / "good", 3)
    done, failed, peak = assert_each_has_an_outcome(tmp_path / "in", tmp_path / "out")
    assert done >= 3
    assert failed
    figures.note("mutated files", f"{n}: {done - 3} done, {failed} failed by name")
    figures.note("MB that a worker took at most, of 800", f"{peak:.0f} (mutated files)")


@pytest.mark.parametrize("scope", ["shared", "image"])
def test_odd_files_have_an_outcome_each(
    scope: str, shared: Path, tmp_path: Path, chaos: bool, figures: Figures
) -> None:
    if not chaos and scope == "image":
        pytest.skip("is tried in the long form")
    done, failed, peak = assert_each_has_an_outcome(
        shared / "odd", tmp_path / "out", "--palette", scope
    )
    assert done > 100
    figures.note(f"odd files, {scope}", f"{done} done, {failed} failed by name")
    figures.note(f"MB that a worker took at most, of 800; {scope}", f"{peak:.0f} (odd files)")


# -- images that end the process that decodes them --------------------------------------------

REASONS = {
    "crash": "ends the process that decodes it (SIGSEGV): quarantined",
    "hang": "takes longer than 600 s to decode: quarantined; --image-timeout allows more",
    "greedy": "takes more memory to decode than a worker has: quarantined",
}
DEATHS = 4  # of workers, for a piece of work with such images


@pytest.mark.parametrize("scope", ["shared", "image"])
def test_images_that_end_their_workers_are_quarantined_and_the_rest_is_done(
    scope: str, pictures: Path, tmp_path: Path, times: Times, figures: Figures
) -> None:
    faults = Faults(tmp_path)
    words = ("-k", "16", "--palette", scope, "--partition-pixels", "20000")
    run_here("compress", pictures, tmp_path / "quiet", *words, "--workers", "0")
    shutil.copytree(pictures, tmp_path / "in")
    kinds = list(REASONS) if times(0, 1) or scope == "shared" else ["crash"]
    for number, kind in enumerate(kinds):
        # in the long form each in a piece of work of its own
        folder = ("birds", "birds/small", "trees")[number] if times(0, 1) else "killers"
        (tmp_path / "in" / folder).mkdir(exist_ok=True)
        Image.new("RGB", (20, 20), "red").save(tmp_path / "in" / folder / f"{kind}.png")
    limits = ("--workers", "2", "--image-timeout", "600", "--memory-limit", f"{BUDGET}MB")
    out = tmp_path / "out"
    job_words = ("compress", tmp_path / "in", out, *words, *limits)
    with started(*job_words, environment=faults.environment) as job:
        assert job.wait() == 1, job.said()
        assert not job.strays()
        assert "resource_tracker" not in job.said()  # it warns of what dead workers left
    lines = (out / "failures.jsonl").read_text().splitlines()
    failures = {Path(each["path"]).stem: each["reason"] for each in map(json.loads, lines)}
    assert failures == {kind: REASONS[kind] for kind in kinds}
    found = tree(out)
    found.pop("failures.jsonl")
    assert found == tree(tmp_path / "quiet")
    deaths = len(faults.workers())
    pieces = len(kinds) if times(0, 1) and scope == "shared" else 1
    assert deaths <= DEATHS * pieces, faults.said()
    figures.note(
        f"{len(kinds)} images that end their workers, {scope}", f"{deaths} workers died, rest done"
    )


@pytest.mark.parametrize("kind", [None, "crash"])
def test_a_small_job_has_workers_only_where_an_image_would_end_its_process(
    kind: str | None, pictures: Path, tmp_path: Path
) -> None:
    faults = Faults(tmp_path)
    shutil.copytree(pictures, tmp_path / "in")
    if kind:
        Image.new("RGB", (20, 20), "red").save(tmp_path / "in" / f"{kind}.png")
    run_here("compress", pictures, tmp_path / "quiet", "-k", "16", "--workers", "0")
    out = tmp_path / "out"
    words = ("compress", tmp_path / "in", out, "-k", "16")
    with started(*words, environment=faults.environment) as job:
        assert job.wait() == (1 if kind else 0), job.said()
        assert ("local worker processes" in job.said()) is bool(kind)
        assert not job.strays()
    found = tree(out)
    if kind:
        [line] = (out / "failures.jsonl").read_text().splitlines()
        assert json.loads(line)["reason"] == REASONS[kind]
        del found["failures.jsonl"]
    assert found == tree(tmp_path / "quiet")
