"""What the command line refuses, in one line, before it writes anything."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kmeans_dask.engine import connection
from kmeans_dask.errors import ClusterError
from tests.cli.conftest import CANNOT, LONG, WORKERS, compress, hard_sprite, psnr, refuse, save_rgba
from tests.command import all_below, tree
from tests.command import run_here as run
from tests.conftest import photograph

COMPRESS = ("compress", "photos", "out", "--workers", "0")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--fixed-colors", "nonsense"], ["--fixed-colors", "'nonsense'"]),
        (["--fixed-colors", "#f00,#0f0,#00f", "-k", "2"], ["--fixed-colors names 3", "--colors"]),
        (["--fixed-colors", "#ff000080"], ["--fixed-colors"]),
        (["--palette", "nonsense"], ["--palette is 'nonsense'"]),
        (["--palette", "auto"], ["--palette auto", "--min-psnr"]),
        (["--palette-file", "missing.gpl"], ["missing.gpl", "does not exist"]),
        (["--palette-file", "garbage.gpl"], ["garbage.gpl"]),
        (["--palette-file", "good.hex", "--colors", "8"], ["--palette-file", "--colors"]),
        (
            ["--palette-file", "good.hex", "--fixed-colors", "#f00"],
            ["--palette-file", "--fixed-colors"],
        ),
        (["--min-psnr", "0"], ["--min-psnr is 0"]),
        (["--min-psnr", "-3"], ["--min-psnr is -3"]),
        (["--min-psnr", "30", "--dither", "1"], ["--min-psnr", "--dither"]),
        (["--format", "nonsense"], ["--format is 'nonsense'"]),
        (["--format", "gif", "--keep-metadata"], ["--format gif", "--keep-metadata"]),
        (["--effort", "10"], ["--effort is 10"]),
        (["--dither", "2"], ["--dither is 2"]),
        (["--lossy", "-1"], ["--lossy is -1"]),
        (["--lossy", "nan"], ["--lossy is nan"]),
        (["--lossy", "much"], ["--lossy is 'much'"]),
        (["--lossy", "auto"], ["--lossy auto", "--min-psnr", "--min-ssimulacra2"]),
        (["--min-ssimulacra2", "100"], ["--min-ssimulacra2 is 100"]),
        (["--min-ssimulacra2", "70", "--lossy", "2"], ["--min-ssimulacra2", "--lossy"]),
        (["--min-ssimulacra2", "70", "--dither", "1"], ["--lossy", "--dither"]),
        (["--max-error", "-1"], ["--max-error is -1", "0 to 255"]),
        (["--max-error", "300"], ["--max-error is 300"]),
        (["--max-error", "9", "--dither", "1"], ["--max-error", "--dither"]),
        (["--total-size", "much"], ["--total-size is 'much'", "20MB", "0.3B/pixel"]),
        (["--total-size", "-5MB"], ["--total-size is '-5MB'"]),
        (["--total-size", "0"], ["--total-size is 0 B", "take at least"]),
        (["--total-size", "0.001B/pixel"], ["--total-size is", "take at least"]),
        (["--total-size", "5MB", "--lossy", "2"], ["--total-size", "leave --lossy out"]),
        (["--total-size", "5MB", "--dither", "1"], ["--total-size", "--dither"]),
        (["--total-size", "5MB", "--min-psnr", "30"], ["--total-size", "--min-psnr"]),
        (["--total-size", "5MB", "--min-ssimulacra2", "70"], ["--total-size", "--lossy"]),
        (["--lossy", "2", "--dither", "1"], ["--lossy", "--dither"]),
        (["--colors", "300"], ["--colors is 300", "tokenize"]),
        (["--store", "s.zarr", "--palette", "image"], ["--store", "--palette"]),
        (["--format", "tokens"], ["--format is 'tokens'"]),
        (["tokenize", "photos", "full"], ["full exists and is no store"]),
        (["tokenize", "photos", "s.zarr", "--palette-name", "k4"], ["--palette-name", "INPUT"]),
        (["tokenize", "photos", "s.zarr", "-k", "65537"], ["--colors is 65537"]),
        (["tokenize", "s.zarr", "--colors", "4"], ["STORE alone", "--colors"]),
        (["palette", "missing.json"], ["missing", "does not exist"]),
        (["palette", "good.hex", "garbage.gpl"], ["garbage.gpl exists already", "--overwrite"]),
        (["palette", "good.hex", "new.txt"], ["new.txt", "choose .json"]),
        (["palette", "garbage.gpl"], ["garbage.gpl"]),
    ],
)
def test_an_impossible_request_is_refused_in_one_line_and_writes_nothing(
    words: list[str],
    says: list[str],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photos)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "garbage.gpl").write_bytes(bytes(range(256)))
    (tmp_path / "good.hex").write_text("ff0000\n00ff00\n")
    before = all_below(tmp_path), tree(tmp_path), tree(photos)
    done = run(*(COMPRESS if words[0].startswith("-") else ()), *words, code=2)
    assert all(part in done.stderr for part in says), done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("kmeans-dask: ")
    assert done.stderr.count("\n") == 1
    assert (all_below(tmp_path), tree(tmp_path), tree(photos)) == before


# Command lines by name, where `{}` is the target. No target folder may be called like an image.
TO_FOLDERS = {
    "compress": ("compress", "photos", "{}"),
    "tokens": ("tokenize", "photos", "{}"),
    "--store": ("compress", "photos", "out", "--store", "{}"),
    "ingest": ("ingest", "photos", "{}"),
    "encode": ("encode", "s.zarr", "{}"),
}


@pytest.mark.parametrize("command", TO_FOLDERS)
@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("file/out", "file is in the way: it is no folder"),
        ("file/in/out", "file is in the way: it is no folder"),
        ("/dev/null/out", "/dev/null is in the way: it is no folder"),
        ("/proc/out", CANNOT),
        ("/sys/out/deep", CANNOT),
        (LONG, f"{LONG} {CANNOT} (File name too long)"),
        (f"new/{LONG}/out", CANNOT),
        ("circle", f"circle {CANNOT} (Too many levels of symbolic links)"),
        ("circle/out", CANNOT),
        ("-", "- looks like a file: name a folder to write to"),
        ("x.png", "x.png looks like a file: name a folder to write to"),
        ("new/x.JPEG", "x.JPEG looks like a file: name a folder to write to"),
    ],
    ids=lambda text: text[:20],
)
def test_a_folder_that_cannot_be_written_is_refused(
    command: str, target: str, says: str, here: Path
) -> None:
    words = [word.format(target) for word in TO_FOLDERS[command]]
    refuse(here, words, says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["compress", "photos"], "OUTPUT is missing: name images, and then the folder"),
        (["compress"], "OUTPUT is missing: name images, and then the folder"),
        (["ingest", "photos"], "STORE is missing: name images, and then the store"),
        (["encode", "s.zarr"], "OUTPUT is missing: name a folder to write to"),
        (["tokenize"], "STORE is missing: name images, and then the store"),
    ],
)
def test_a_place_that_is_missing_is_named(words: list[str], says: str, here: Path) -> None:
    refuse(here, words, says)


def test_a_folder_whose_name_ends_as_an_images_does_may_be_written_to(here: Path) -> None:
    (here / "x.png").mkdir()
    run("compress", "photos/astronaut.png", "x.png", "-k", "4", *WORKERS)
    assert (here / "x.png" / "astronaut.png").is_file()


@pytest.mark.parametrize("command", ["compress", "tokens", "--store", "ingest", "encode"])
def test_a_full_disk_at_the_very_beginning_leaves_nothing(command: str, here: Path) -> None:
    """Check a limit of 0 bytes a file: the kernel's error is then not that of a full disk."""
    words = [word.format("new/place") for word in TO_FOLDERS[command]]
    before = all_below(here), tree(here)
    done = subprocess.run(
        [sys.executable, "-m", "kmeans_dask", *words, *WORKERS],
        capture_output=True,
        text=True,
        timeout=240,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    assert done.returncode == 2, done.stderr
    assert f"{CANNOT} (File too large): name another folder" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (all_below(here), tree(here)) == before


@pytest.mark.parametrize("command", ["compress", "ingest", "encode", "fit"])
def test_a_job_that_fails_before_any_work_does_not_suggest_resume(
    command: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check a cluster that goes away before any work; only `ingest` has made a store by then."""

    def connect(**where: Any) -> None:
        raise ClusterError("the cluster went away")

    monkeypatch.setattr(connection, "connect", connect)
    words = {**TO_FOLDERS, "fit": ("fit", "s.zarr", "-k", "5")}[command]
    before = tree(here)
    done = run(*(word.format("new") for word in words), code=3)
    hint = "; what is done is kept: --resume goes on from there"
    assert done.stderr == f"kmeans-dask: the cluster went away{hint * (command == 'ingest')}\n"
    assert (tree(here) == before) == (command != "ingest")


@pytest.mark.parametrize(
    "words",
    [["compress", "in", "out", "--store", "kept.zarr"], ["tokenize", "in", "out"]],
    ids=["compress", "tokenize"],
)
def test_no_room_for_the_transparent_colour_leaves_no_store_behind(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_rgba(hard_sprite(), tmp_path / "in" / "sprite.png")
    fix = ("--fixed-colors", "#f00,#0f0", "-k", "2")
    done = run(*words, "--workers", "0", *fix, code=2)
    assert "--colors 2 has no room" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("scope", ["shared", "image"])
def test_animations_are_refused_by_name_and_the_rest_is_done(scope: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    first, second = (photograph(f"{name}.png", (60, 40)) for name in ("astronaut", "coffee"))
    animations = {folder / f"moving {suffix}.{suffix}" for suffix in ("gif", "png", "webp")}
    for path in animations:
        first.save(path, save_all=True, append_images=[second])
    first.save(folder / "still.png")
    out, found = compress(folder, tmp_path / "out", "--palette", scope, "-k", "16", code=1)
    assert (found["images"], found["compressed"], found["failed"]) == (4, 1, 3)
    assert {Path(failure["path"]) for failure in found["failures"]} == animations
    assert all("frame" in failure["reason"] for failure in found["failures"])
    lines = (out / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == found["failures"]
    assert [path.name for path in out.glob("*.png")] == ["still.png"]
    assert found["psnr"] == pytest.approx(psnr([(folder / "still.png", out / "still.png")]))
