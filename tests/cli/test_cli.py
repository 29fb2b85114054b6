"""The command line, as a user types it, on real files; in real processes where that may matter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from distributed import LocalCluster
from PIL import Image

from kmeans_dask.kmeans.plain import plain_labels
from tests.command import (
    all_below,
    chunks,
    palette_file,
    run,
    run_here,
    summary,
    summary_here,
    tree,
)
from tests.conftest import photograph, pixels_of

KEYS = {
    "images", "compressed", "kept", "failed", "pixels", "distinct_colors", "colors", "iterations",
    "inertia", "psnr", "input_bytes", "output_bytes", "seconds",
}  # fmt: skip


def test_a_folder_becomes_the_same_folder_with_one_exact_palette(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    found = summary("compress", photos, out, "--colors", "16", "--workers", "0", "--always")
    assert found.keys() >= KEYS
    assert (found["images"], found["compressed"], found["failed"]) == (4, 4, 0)
    assert sorted(tree(out)) == [
        "astronaut.png", "cats/chelsea.png", "coffee.png", "grey rocket.png", "palette.json",
    ]  # fmt: skip
    palettes = {chunks(path)[b"PLTE"] for path in out.rglob("*.png")}
    assert len(palettes) == 1
    entries = np.frombuffer(palettes.pop(), np.uint8).reshape(-1, 3)
    assert [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in entries.tolist()] == palette_file(out)[
        "colors"
    ]
    squared_error, n_pixels = 0, 0
    for source in (p for p in photos.rglob("*") if p.is_file()):
        written = out / source.relative_to(photos).with_suffix(".png")
        assert chunks(written)[b"IHDR"][8:10] == bytes([4, 3])  # 4 bits, indexed
        with Image.open(written) as image:
            indices = np.asarray(image).ravel()
        pixels = pixels_of(source)
        np.testing.assert_array_equal(indices, plain_labels(pixels, entries.astype(np.float64)))
        squared_error += int(((pixels.astype(int) - entries[indices]) ** 2).sum())
        n_pixels += len(pixels)
    assert found["pixels"] == n_pixels
    assert found["psnr"] == pytest.approx(10 * np.log10(255**2 * 3 * n_pixels / squared_error))
    assert found["output_bytes"] == sum(p.stat().st_size for p in out.rglob("*.png"))
    assert found["input_bytes"] == sum(p.stat().st_size for p in photos.rglob("*") if p.is_file())
    pixels = np.concatenate([pixels_of(p) for p in photos.rglob("*") if p.is_file()])
    assert found["distinct_colors"] == len(np.unique(pixels, axis=0))


def test_workers_partitions_chunks_and_single_steps_never_change_a_byte(
    photos: Path, tmp_path: Path
) -> None:
    options = ("--colors", "32", "--seed", "7")
    run_here("compress", photos, tmp_path / "here", *options, "--workers", "0")
    ways = {
        "one": ("--workers", "1"),
        "two": ("--workers", "2", "--partition-pixels", "30000"),
    }
    for name, way in ways.items():
        run("compress", photos, tmp_path / name, *options, *way)
    store = tmp_path / "store.zarr"
    run_here("ingest", photos, store, "--workers", "0", "--partition-pixels", "1")
    run("fit", store, *options, "--workers", "2", "--chunk-colors", "5000")
    run_here("encode", store, tmp_path / "steps", "--workers", "0")
    expected = tree(tmp_path / "here")
    assert len(expected) == 5
    for name in ("one", "two", "steps"):
        assert tree(tmp_path / name) == expected, name


def test_a_remote_scheduler_gives_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    run_here("compress", photos, tmp_path / "here", "--workers", "0", "--colors", "8")
    with LocalCluster(
        n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        address = cluster.scheduler_address
        script = Path(__file__).parents[2] / "jobs" / "compress.py"
        words = [photos, tmp_path / "there", "--colors", "8", "--scheduler", address]
        done = subprocess.run(
            [sys.executable, script, *words], capture_output=True, text=True, timeout=6000
        )
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "there") == tree(tmp_path / "here")


def test_the_job_script_starts_no_cluster_of_its_own(photos: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "jobs" / "compress.py"
    environment = {k: v for k, v in os.environ.items() if k != "DASK_SCHEDULER_ADDRESS"}
    done = subprocess.run(
        [sys.executable, script, photos, tmp_path / "out"],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
    )
    assert done.returncode == 2
    assert "--scheduler" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_scheduler_without_workers_is_an_error_in_time(photos: Path, tmp_path: Path) -> None:
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        words = ("--scheduler", cluster.scheduler_address, "--timeout", "8")
        done = run("compress", photos, tmp_path / "out", *words, code=2)
    assert "no worker within 8 s" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_scheduler_that_is_not_there_is_an_error_in_time(photos: Path, tmp_path: Path) -> None:
    words = ("--scheduler", "tcp://127.0.0.1:9", "--timeout", "1")
    done = run("compress", photos, tmp_path / "out", *words, code=2)
    assert "no scheduler answers at tcp://127.0.0.1:9" in done.stderr
    assert not (tmp_path / "out").exists()


def test_few_colours_are_the_palette(tmp_path: Path) -> None:
    colors = np.array([[0, 0, 0], [255, 0, 0], [9, 200, 30]], np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(colors[np.arange(3000).reshape(50, 60) % 3]).save(tmp_path / "in" / "a.bmp")
    found = summary_here("compress", tmp_path / "in", tmp_path / "out", "--workers", "0")
    assert (found["colors"], found["distinct_colors"], found["inertia"]) == (3, 3, 0)
    assert found["psnr"] is None
    shown = run_here("compress", tmp_path / "in", tmp_path / "shown", "--workers", "0").stdout
    assert "3 colours (all there are)" in shown
    assert "nothing lost" in shown
    assert chunks(tmp_path / "out" / "a.png")[b"IHDR"][8] == 2
    np.testing.assert_array_equal(
        pixels_of(tmp_path / "out" / "a.png"), pixels_of(tmp_path / "in" / "a.bmp")
    )


def test_transparent_pixels_stay_so_and_are_not_fitted(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sprite = np.zeros((40, 40, 4), np.uint8)
    sprite[:, :20] = (200, 10, 10, 255)
    sprite[:10, :20] = (10, 10, 200, 128)
    sprite[:, 20:] = (77, 88, 99, 0)
    Image.fromarray(sprite).save(tmp_path / "in" / "sprite.png")
    photograph("astronaut.png", (60, 60)).save(tmp_path / "in" / "photo.png")
    found = summary_here(
        "compress", tmp_path / "in", tmp_path / "out", "-k", "16", "--workers", "0", "--always"
    )
    assert (found["colors"], found["composited"]) == (16, 0)
    assert palette_file(tmp_path / "out")["transparent"] == 0
    written = chunks(tmp_path / "out" / "sprite.png"), chunks(tmp_path / "out" / "photo.png")
    assert written[0][b"tRNS"] == b"\x00\x80"
    assert b"tRNS" not in written[1]
    assert written[0][b"PLTE"] == written[1][b"PLTE"]
    with Image.open(tmp_path / "out" / "sprite.png") as image:
        rgba = np.asarray(image.convert("RGBA"))
    np.testing.assert_array_equal(rgba[:, :, 3], sprite[:, :, 3])
    np.testing.assert_array_equal(rgba[:10, :20], sprite[:10, :20])
    with Image.open(tmp_path / "out" / "photo.png") as image:
        assert (np.asarray(image) > 0).all()
    photo = {tuple(pixel) for pixel in pixels_of(tmp_path / "in" / "photo.png").tolist()}
    assert found["distinct_colors"] == len(photo | {(200, 10, 10), "half blue"})


def test_a_clear_entry_is_not_taken_for_a_colour(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sprite = np.full((20, 20, 4), 255, np.uint8)
    sprite[:, :4, 0] = [0, 60, 120, 180]  # with white, one colour more than fits beside clear
    sprite[0, 0, 3] = 0
    Image.fromarray(sprite).save(tmp_path / "in" / "sprite.png")
    words = ("-k", "5", "--workers", "0", "--always")
    shown = run_here("compress", tmp_path / "in", tmp_path / "out", *words).stdout
    assert "5 colours, " in shown


def test_images_of_nothing_but_transparency_are_written(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGBA", (90, 70), (1, 2, 3, 0)).save(tmp_path / "in" / "clear.tiff")
    found = summary_here("compress", tmp_path / "in", tmp_path / "out", "--workers", "0")
    assert (found["compressed"], found["colors"], found["distinct_colors"]) == (1, 1, 0)
    with Image.open(tmp_path / "out" / "clear.png") as image:
        assert image.convert("RGBA").getchannel("A").getextrema() == (0, 0)


def test_an_image_that_would_grow_is_kept_unless_told_otherwise(
    photos: Path, tmp_path: Path
) -> None:
    small = tmp_path / "in" / "deep" / "tiny.jpg"
    small.parent.mkdir(parents=True)
    photograph("coffee.png", (200, 160)).save(small, quality=5)
    found = summary_here("compress", tmp_path / "in", tmp_path / "out", "--workers", "0")
    assert (found["compressed"], found["kept"]) == (0, 1)
    assert (tmp_path / "out" / "deep" / "tiny.jpg").read_bytes() == small.read_bytes()
    assert found["output_bytes"] == found["input_bytes"] == small.stat().st_size
    assert sorted(tree(tmp_path / "out")) == ["deep/tiny.jpg", "palette.json"]

    words = ("--workers", "0", "--always", "--overwrite")
    found = summary_here("compress", tmp_path / "in", tmp_path / "out", *words)
    assert (found["compressed"], found["kept"]) == (1, 0)
    assert found["output_bytes"] > found["input_bytes"]


def test_unreadable_files_are_named_and_other_images_are_written(
    photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    good = (photos / "astronaut.png").read_bytes()
    (folder / "good.png").write_bytes(good)
    (folder / "cut.png").write_bytes(good[: len(good) // 2])
    (folder / "notes.txt").write_text("no image")
    (folder / "empty.jpg").touch()
    (folder / "gone.png").symlink_to("nowhere")
    (folder / ".hidden").touch()
    os.mkfifo(folder / "pipe.png")
    header = b"IHDR" + b"\x00\x00\xff\xff" * 2 + good[24:29]
    crc = zlib.crc32(header).to_bytes(4, "big")
    (folder / "bomb.png").write_bytes(good[:12] + header + crc + good[33:])
    found = summary_here("compress", folder, tmp_path / "out", "--workers", "0", code=1)
    assert (found["images"], found["compressed"], found["failed"], found["skipped"]) == (6, 1, 5, 2)
    assert found["skipped_by_suffix"] == {".txt": 1, "hidden": 1}
    lines = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
    failures = [json.loads(line) for line in lines]
    assert failures == found["failures"]
    reasons = {Path(failure["path"]).name: failure["reason"] for failure in failures}
    assert sorted(reasons) == [
        "bomb.png", "cut.png", "empty.jpg", "gone.png", "pipe.png",
    ]  # fmt: skip
    assert "limit" in reasons["bomb.png"]
    assert "empty" in reasons["empty.jpg"]
    assert "regular" in reasons["pipe.png"]
    shown = run_here(
        "compress", folder, tmp_path / "out2", "--workers", "0", "--max-pixels", "9999999", code=1
    )
    assert all(name in shown.stdout for name in reasons)

    for name in reasons:
        (folder / name).unlink()
    run_here("compress", folder, tmp_path / "out", "--workers", "0", "--overwrite")
    assert not (tmp_path / "out" / "failures.jsonl").exists()


def test_when_every_image_turns_out_broken_the_job_still_ends_well(
    photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    good = (photos / "astronaut.png").read_bytes()
    (tmp_path / "in" / "cut.png").write_bytes(good[:3000])
    found = summary_here("compress", tmp_path / "in", tmp_path / "out", "--workers", "0", code=1)
    assert (found["images"], found["failed"], found["compressed"]) == (1, 1, 0)
    assert (tmp_path / "out" / "failures.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["compress", "nowhere", "out"], "nowhere does not exist"),
        (["compress", "empty", "out"], "no image found in empty"),
        (["compress", "texts", "out"], "no image found in texts"),
        (["compress", "photos", "full"], "full is not empty"),
        (["compress", "photos", "photos/out"], "one inside the other"),
        (["compress", "photos/cats", "photos"], "one inside the other"),
        (["compress", "photos", "photos"], "one inside the other"),
        (["compress", "photos", "full/notes.txt"], "is a file"),
        (["compress", "photos", "out", "--colors", "1"], "--colors is 1"),
        (["compress", "photos", "out", "--colors", "257"], "--colors is 257"),
        (["compress", "photos", "out", "--colors", "many"], "--colors"),
        (["compress", "photos", "out", "--tol", "nan"], "--tol is nan"),
        (["compress", "photos", "out", "--max-iter", "0"], "--max-iter is 0"),
        (["compress", "photos", "out", "--seed", "-1"], "--seed is -1"),
        (["compress", "photos", "out", "--init", "best"], "--init is 'best'"),
        (["compress", "photos", "out", "--workers", "-1"], "'--workers'"),
        (["compress", "photos", "out", "--timeout", "0"], "'--timeout'"),
        (["compress", "photos", "out", "--partition-pixels", "0"], "'--partition-pixels'"),
        (["compress", "photos", "out", "--max-pixels", "-5"], "'--max-pixels'"),
        (["compress", "photos", "out", "--store", "full"], "full exists and is no store"),
        (["compress", "photos", "out", "--store", "photos/s.zarr"], "one inside the other"),
        (["compress", "photos", "out", "--memory-limit", "much"], "write a size as 2GB"),
        (["compress", "photos", "out", "--memory-limit", "100MB"], "a worker takes 357 MB before"),
        (["compress", "photos", "out", "--store", "s", "--keep-palette"], "has no palette for 256"),
        (["compress", "photos", "out", "--keep-palette"], "name it with --store"),
        (["compress", "photos", "out", "--bogus"], "No such option"),
        (["compress", "photos", "out", "--workers", "1", "--scheduler", "x"], "exclude each other"),
        (["compress", "photos"], "OUTPUT is missing"),
        (["ingest", "photos", "full"], "full exists and is no store"),
        (["fit", "full"], "full is no store"),
        (["encode", "nowhere", "out"], "nowhere is no store"),
        (["info", "photos"], "photos is no store"),
    ],
)
def test_a_request_that_cannot_be_met_gets_one_line_and_writes_nothing(
    words: list[str],
    says: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photos)
    for name in ("empty", "texts", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "texts" / "a.txt").write_text("no image")
    (tmp_path / "full" / "notes.txt").write_text("mine")
    before = all_below(tmp_path), tree(tmp_path), tree(photos)
    done = run_here(*words, code=2)
    assert says in done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("kmeans-dask: ")
    assert done.stderr.count("\n") == 1
    assert (all_below(tmp_path), tree(tmp_path), tree(photos)) == before


def test_a_dry_run_tells_the_plan_and_writes_nothing(photos: Path, tmp_path: Path) -> None:
    found = summary_here("compress", photos, tmp_path / "out", "--dry-run")
    assert (found["images"], found["partitions"]) == (4, 1)
    assert found["pixels"] == sum(len(pixels_of(p)) for p in photos.rglob("*") if p.is_file())
    assert not (tmp_path / "out").exists()


def test_a_store_tells_what_it_holds_and_is_fitted_again_without_pixels(
    photos: Path, tmp_path: Path
) -> None:
    store = tmp_path / "s.zarr"
    ingested = summary_here("ingest", photos, store, "--workers", "0")
    assert ingested["images"] == 4
    done = run_here("encode", store, tmp_path / "out", "--workers", "0", code=2)
    assert "fit" in done.stderr
    for pixels in store.rglob("pixels/c"):
        pixels.rename(pixels.parent / "away")
    for k in ("8", "3"):
        assert summary_here("fit", store, "--colors", k, "--workers", "0")["colors"] == int(k)
    for pixels in store.rglob("pixels/away"):
        pixels.rename(pixels.parent / "c")
    info = summary_here("info", store)
    assert [palette["palette"] for palette in info["palettes"]] == ["k8", "k3"]
    assert info["tally"]["images"] == 4
    run_here("encode", store, tmp_path / "last", "--workers", "0")
    run_here("encode", store, tmp_path / "named", "--workers", "0", "--palette-name", "k8")
    assert len(palette_file(tmp_path / "last")["colors"]) == 3
    assert len(palette_file(tmp_path / "named")["colors"]) == 8
    done = run_here(
        "encode", store, tmp_path / "none", "--workers", "0", "--palette-name", "k9", code=2
    )
    assert "it has k8, k3" in done.stderr
    assert "k8" in run_here("info", store).stdout


def test_a_store_is_never_encoded_over_the_images_it_came_from(
    photos: Path, tmp_path: Path
) -> None:
    store, before = tmp_path / "s.zarr", tree(photos)
    run_here("ingest", photos, store, "--workers", "0")
    run_here("fit", store, "-k", "2", "--workers", "0")
    for output in (photos, photos / "cats", photos.parent):
        done = run_here("encode", store, output, "--overwrite", "--workers", "0", code=2)
        assert "one inside the other" in done.stderr
    assert tree(photos) == before


def test_compress_keeps_the_store_where_it_is_told_to(photos: Path, tmp_path: Path) -> None:
    words = ("--workers", "0", "-k", "4", "--store", tmp_path / "s.zarr")
    run_here("compress", photos, tmp_path / "out", *words)
    assert summary_here("info", tmp_path / "s.zarr")["palettes"][0]["colors"] == 4
    run_here("compress", photos, tmp_path / "alone", "--workers", "0", "-k", "4")
    assert tree(tmp_path / "alone") == tree(tmp_path / "out")
    assert not (tmp_path / "alone" / ".kmeans-dask" / "store.zarr").exists()
    assert sorted(path.name for path in (tmp_path / "out" / ".kmeans-dask").iterdir()) == [
        "done", "job.json", "lock",
    ]  # fmt: skip


def test_an_original_that_is_gone_is_written_as_png_from_the_store(
    photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    photograph("coffee.png", (90, 60)).save(tmp_path / "in" / "tiny.jpg", quality=5)
    run_here("ingest", tmp_path / "in", tmp_path / "s.zarr", "--workers", "0")
    run_here("fit", tmp_path / "s.zarr", "--workers", "0")
    (tmp_path / "in" / "tiny.jpg").unlink()
    found = summary_here("encode", tmp_path / "s.zarr", tmp_path / "out", "--workers", "0")
    assert (found["compressed"], found["kept"]) == (1, 0)
    assert (tmp_path / "out" / "tiny.png").exists()


def test_a_damaged_store_is_named_in_one_line(photos: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    run_here("ingest", photos, store, "--workers", "0")
    run_here("fit", store, "--workers", "0")
    chunk = next(path for path in store.glob("partitions/*/pixels/c/**/*") if path.is_file())
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    done = run_here("encode", store, tmp_path / "out", "--workers", "0", code=3)
    assert "damaged" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_link_into_the_output_is_never_written_over(photos: Path, tmp_path: Path) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    original = tmp_path / "out" / "a.png"
    original.write_bytes((photos / "astronaut.png").read_bytes())
    (tmp_path / "in" / "a.png").symlink_to(original)
    words = ("--overwrite", "--workers", "0", "-k", "2")
    done = run_here("compress", tmp_path / "in", tmp_path / "out", *words, code=2)
    assert "leads into" in done.stderr
    assert original.read_bytes() == (photos / "astronaut.png").read_bytes()


def test_a_terminal_that_knows_only_ascii_gets_its_summary(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    words = ("--workers", "0", "-k", "2")
    assert "images per GB" in run("compress", photos, tmp_path / "out", *words).stdout


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph forty times over, in `in`, and what `compress` makes of it, in `out`."""
    folder = tmp_path_factory.mktemp("forty")
    (folder / "in").mkdir()
    photo = photograph("astronaut.png", (400, 400))
    for i in range(40):
        photo.save(folder / "in" / f"{i}.png", compress_level=1)
    run_here("compress", folder / "in", folder / "out", "-k", "4", "--workers", "0")
    return folder


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_job_ends_and_can_be_resumed(
    sent: signal.Signals, forty: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["compress", str(forty / "in"), str(out), "-k", "4", "--partition-pixels", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "kmeans_dask", *words, "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as a terminal gives a job
    ) as job:
        until = time.monotonic() + 600
        partitions = out / ".kmeans-dask" / "store.zarr" / "partitions"
        while not list(partitions.glob("0*")) and time.monotonic() < until:
            time.sleep(0.05)
        if sent == signal.SIGINT:
            os.killpg(job.pid, sent)
        else:
            job.send_signal(sent)
        _, errors = job.communicate(timeout=600)
    assert job.returncode == 128 + sent, errors
    assert "Traceback" not in errors
    kept = "what is done is kept: --resume goes on from there"
    assert errors.endswith(f"kmeans-dask: interrupted; {kept}\n")
    assert tree(out) == {}
    assert 0 < len(list(partitions.glob("0*"))) <= 40
    refused = run_here(*words, "--workers", "0", code=2)
    assert "--resume" in refused.stderr
    done = summary_here(*words, "--workers", "0", "--resume")
    assert (done["compressed"], done["failed"]) == (40, 0)
    assert tree(out) == tree(forty / "out")


def test_names_that_would_break_a_terminal_or_a_page_go_through(
    photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    good = (photos / "astronaut.png").read_bytes()
    names = [
        b"<img src=x onerror=alert(1)>.png", b"two\nlines.png", b"\x1b[31mred.png",
        b"not utf-8 \xff.png", "emoji \N{TURTLE}.png".encode(), b"-k.png", b"[bold]markup.png",
    ]  # fmt: skip
    for name in map(os.fsdecode, names):
        (folder / name).write_bytes(good)
        (folder / f"bad {name}").write_bytes(good[:200])
    words = ("-k", "4", "--workers")
    found = summary("compress", tmp_path / "in", tmp_path / "out", *words, "1", code=1)
    assert (found["compressed"], found["failed"]) == (7, 7)
    assert {os.fsdecode(name) for name in names} <= tree(tmp_path / "out").keys()
    shown = run("compress", tmp_path / "in", tmp_path / "out2", *words, "0", code=1).stdout
    assert "\x1b" not in shown
    assert "bad two\\nlines.png" in shown
    assert "bad [bold]markup.png" in shown


def test_names_that_differ_in_suffix_only_all_get_their_own_output(
    photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    image = photograph("coffee.png", (90, 60))
    for name in ("a.png", "a.jpg", "a.bmp", "b.bmp"):
        image.save(folder / name)
    found = summary_here(
        "compress", folder, tmp_path / "out", "-k", "4", "--workers", "0", "--always"
    )
    assert found["compressed"] == 4
    assert sorted(tree(tmp_path / "out")) == [
        "a.bmp.png", "a.jpg.png", "a.png", "b.png", "palette.json",
    ]  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_the_largest_image_allowed_stays_within_the_memory_promised(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    ramp = Image.linear_gradient("L").resize((9400, 9400))
    image = Image.merge("RGB", [ramp, ramp.transpose(Image.Transpose.ROTATE_90), ramp])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned: one more copy
    image.save(tmp_path / "in" / "large.jpg", exif=exif)
    # not ru_maxrss: a process inherits that from the one that started it
    code = (
        "from kmeans_dask.cli import main\n"
        "try: main()\n"
        "finally: print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    words = ["compress", str(tmp_path / "in"), str(tmp_path / "out"), "--workers", "0", "-k", "16"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=6000
    )
    assert done.returncode == 0, done.stderr
    peak_mib = int(done.stdout.splitlines()[-1]) / 1024
    assert peak_mib < 1.5 * 1024


def test_it_is_quiet_when_piped(photos: Path, tmp_path: Path) -> None:
    done = run("compress", photos, tmp_path / "out", "--workers", "0", "-k", "4")
    assert done.stderr == ""
    assert "images per GB" in done.stdout
    assert "\x1b" not in done.stdout


def test_help_shows_an_example_of_each_command_without_loading_what_is_heavy() -> None:
    for command in ("compress", "ingest", "fit", "encode", "info"):
        assert f"Example: kmeans-dask {command}" in run(command, "--help").stdout
    code = (
        "import sys; from kmeans_dask import cli; sys.argv = ['kmeans-dask', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'numba', 'distributed', 'zarr', 'PIL', 'bokeh'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=600)


def test_kodak_in_16_colours_is_12_exact_images_of_4_bits(shared: Path, tmp_path: Path) -> None:
    words = ("--colors", "16", "--seed", "0")
    run("compress", shared / "kodak", tmp_path / "out", *words)
    run("compress", shared / "kodak", tmp_path / "out2", *words, "--workers", "0",
        "--partition-pixels", "1000000")  # fmt: skip
    assert tree(tmp_path / "out") == tree(tmp_path / "out2")
    written = sorted((tmp_path / "out").glob("*.png"))
    assert len(written) == 12
    for path in written:
        assert chunks(path)[b"IHDR"][8:10] == bytes([4, 3])
        with Image.open(path) as image:
            indices = np.asarray(image).ravel()
        entries = np.frombuffer(chunks(path)[b"PLTE"], np.uint8).reshape(-1, 3)
        pixels = pixels_of(shared / "kodak" / path.name)
        np.testing.assert_array_equal(indices, plain_labels(pixels, entries.astype(np.float64)))


def test_a_folder_of_everything_is_accounted_for_file_by_file(shared: Path, tmp_path: Path) -> None:
    words = ("-k", "16", "--max-iter", "9", "--effort", "0")  # it is the files that count
    found = summary("compress", shared, tmp_path / "out", *words, code=1)
    given = [path for path in shared.rglob("*") if path.is_file()]
    assert found["images"] == len(given) - found["skipped"]
    assert found["images"] == found["compressed"] + found["kept"] + found["failed"]
    assert len(found["failures"]) == found["failed"] > 0
    outputs = set(tree(tmp_path / "out")) - {"palette.json", "failures.jsonl"}
    assert len(outputs) == found["compressed"] + found["kept"]
