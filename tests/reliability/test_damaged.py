"""Stores that are not what was written any more: it is seen, named and mended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kmeans_dask.engine import connect
from kmeans_dask.errors import KMeansDaskError
from kmeans_dask.job.progress import Progress
from kmeans_dask.steps.verify import VerifyResult, repair, verify
from kmeans_dask.store import FORMAT_VERSION
from tests.command import run, run_here, tree
from tests.reliability.figures import Figures
from tests.reliability.jobs import store_bytes
from tests.reliability.pictures import save_pictures

Times = Callable[[int, int], int]
Damage = Callable[[Path, np.random.Generator], object]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("images") / "in", 24, seed=3, side=24)


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with all that one can have."""
    store = tmp_path_factory.mktemp("whole") / "s.zarr"
    run_here("ingest", images, store, "--partition-pixels", "1000", "--workers", "0")
    run_here("fit", store, "-k", "8", "--workers", "0")
    run_here("fit", store, "-k", "12", "--weight", "images", "--workers", "0")
    for name in ("k8", "k12"):
        run_here("tokenize", store, "--palette-name", name, "--workers", "0")
    assert sum(1 for _ in (store / "partitions").glob("0*")) > 3
    return store


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    copy = tmp_path / "s.zarr"
    shutil.copytree(whole, copy)
    return copy


def restore(store: Path, whole: Path) -> None:
    shutil.rmtree(store)
    shutil.copytree(whole, store)


def looked_at(store: Path) -> VerifyResult:
    with connect(workers=0) as engine:
        return verify(store, engine, Progress())


def mended(store: Path) -> VerifyResult:
    with connect(workers=0) as engine:
        return repair(store, engine, Progress())


def flip(path: Path, rng: np.random.Generator) -> None:
    """One bit of one byte is another."""
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    path.write_bytes(data)


def overwrite(path: Path, rng: np.random.Generator) -> None:
    """One byte is another."""
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= rng.integers(1, 256)
    path.write_bytes(data)


def cut(path: Path, rng: np.random.Generator) -> None:
    os.truncate(path, int(rng.integers(path.stat().st_size)))


def lengthen(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(path.read_bytes() + rng.bytes(int(rng.integers(1, 9))))


def lose(path: Path, rng: np.random.Generator) -> None:
    path.unlink()


def become_folder(path: Path, rng: np.random.Generator) -> None:
    path.unlink()
    path.mkdir()


OTHERS = (cut, lengthen, lose, become_folder)


def files_of(store: Path) -> list[Path]:
    return sorted(path for path in store.rglob("*") if path.is_file() and path.name != ".lock")


def parse_location(store: Path, path: Path) -> str:
    """What a message about the file must name: the group that it is in."""
    parts = path.relative_to(store).parts
    return parts[-1] if len(parts) == 1 else parts[0]


def assert_seen_and_mended(store: Path, whole: Path, name: str) -> None:
    found = looked_at(store)
    assert found.damages
    assert any(name in f"{damage.place} {damage.reason}" for damage in found.damages), found
    assert all(len(damage.reason.splitlines()) == 1 for damage in found.damages)
    assert mended(store).repaired
    assert store_bytes(store) == store_bytes(whole)
    assert not looked_at(store).damages


def test_a_store_that_nobody_touched_is_whole(store: Path, whole: Path) -> None:
    assert not looked_at(store).damages
    assert mended(store).damages == ()
    assert store_bytes(store) == store_bytes(whole)


def test_any_changed_byte_is_found_named_and_repaired(
    store: Path, whole: Path, times: Times, figures: Figures
) -> None:
    rng, files = np.random.default_rng(4), files_of(whole)
    rounds = times(10, 100)
    for number in range(rounds):
        path = store / files[rng.integers(len(files))].relative_to(whole)
        (flip if number % 2 else overwrite)(path, rng)
        assert_seen_and_mended(store, whole, parse_location(store, path))
    figures.note("single bytes damaged", f"{rounds} of {rounds} named, and mended to the last byte")


@pytest.mark.parametrize("damage", OTHERS)
def test_files_of_another_length_or_kind_or_lost_are_found_named_and_repaired(
    damage: Damage, store: Path, whole: Path, times: Times, figures: Figures
) -> None:
    rng, files = np.random.default_rng(5), files_of(whole)
    rounds = times(2, 25)
    for _ in range(rounds):
        path = store / files[rng.integers(len(files))].relative_to(whole)
        damage(path, rng)
        assert_seen_and_mended(store, whole, parse_location(store, path))
    figures.note(
        f"files damaged, {getattr(damage, '__name__', '')}", f"{rounds} of {rounds} mended"
    )


FOLDERS = (
    "partitions", "partitions/000001", "partitions/000002/pixels", "colors", "colors/codes",
    "weighed/weights", "palettes", "palettes/k8", "copies", "copies/k12/entries",
    "indices/k8/000000", "indices/k12/000001/indices",
)  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_a_lost_folder_is_found_named_and_repaired(
    name: str, store: Path, whole: Path, chaos: bool
) -> None:
    shutil.rmtree(store / name)
    assert_seen_and_mended(store, whole, name.split("/")[0])


def test_much_damage_at_once_is_repaired(store: Path, whole: Path, times: Times) -> None:
    """Only never both copies of anything."""
    rng, files = np.random.default_rng(6), files_of(whole)
    for _ in range(times(2, 20)):
        for path in rng.choice(len(files), 12, replace=False):
            name = files[path].relative_to(whole)
            if name.parts[0] not in ("copies", "plan-copy.json"):
                overwrite(store / name, rng)
        assert looked_at(store).damages
        assert mended(store).repaired
        assert store_bytes(store) == store_bytes(whole)


def test_the_loss_of_both_copies_of_a_palette_is_reported(store: Path) -> None:
    rng = np.random.default_rng(7)
    for folder in ("palettes", "copies"):
        overwrite(store / folder / "k8" / "zarr.json", rng)
    with pytest.raises(KMeansDaskError, match="lost both copies of palette k8: fit it again"):
        mended(store)


def test_the_loss_of_both_copies_of_the_plan_is_reported(store: Path) -> None:
    rng = np.random.default_rng(8)
    for name in ("plan.json", "plan-copy.json"):
        overwrite(store / name, rng)
    assert {damage.place for damage in looked_at(store).damages} >= {"plan.json", "plan-copy.json"}
    with pytest.raises(KMeansDaskError, match="both copies of its plan are damaged"):
        mended(store)


def test_an_older_copy_of_the_plan_is_found_and_repaired(
    whole: Path, images: Path, tmp_path: Path
) -> None:
    store = tmp_path / "s.zarr"
    run_here("ingest", images / "birds", store, "--workers", "0")
    older = (store / "plan-copy.json").read_bytes()
    run_here("ingest", images, store, "--workers", "0")
    before = store_bytes(store)
    (store / "plan-copy.json").write_bytes(older)
    assert [damage.place for damage in looked_at(store).damages] == ["plan-copy.json"]
    assert mended(store).repaired
    assert store_bytes(store) == before


def test_images_that_have_changed_since_are_named(
    images: Path, tmp_path: Path, whole: Path
) -> None:
    folder, store = tmp_path / "in", tmp_path / "s.zarr"
    shutil.copytree(images, folder)
    run_here("ingest", folder, store, "--partition-pixels", "1000", "--workers", "0")
    overwrite(store / "partitions" / "000000" / "pixels" / "zarr.json", np.random.default_rng(9))
    plan = json.loads((store / "plan.json").read_bytes().partition(b"\n")[2])
    lost = Path(plan["partitions"]["000000"][0][0])
    shutil.copyfile(folder / "000000.png", lost) if lost.name != "000000.png" else lost.unlink()
    done = run_here("verify", store, "--repair", "--workers", "0", code=3)
    assert lost.name in done.stderr
    assert "kmeans-dask ingest" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "name",
    ["partitions/000000", "partitions", "colors", "palettes", "palettes/k8", "copies"],
)
def test_a_file_in_place_of_a_folder_is_repaired(name: str, store: Path, whole: Path) -> None:
    shutil.rmtree(store / name)
    (store / name).write_bytes(b"not a folder")
    assert looked_at(store).damages
    assert mended(store).repaired
    assert store_bytes(store) == store_bytes(whole)


def test_verify_names_the_damage_and_repairs_it(store: Path, whole: Path) -> None:
    overwrite(store / "colors" / "weights" / "zarr.json", np.random.default_rng(10))
    seen = run_here("verify", store, "--workers", "0", code=1)
    assert "damaged: colors" in seen.stdout
    assert "--repair" in seen.stdout
    assert "everything is repaired" in run("verify", store, "--repair", "--workers", "1").stdout
    assert store_bytes(store) == store_bytes(whole)


def foreign(path: Path) -> None:
    path.mkdir()
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')


def newer(path: Path) -> None:
    path.mkdir()
    attributes = {"format": "kmeans-dask", "format_version": FORMAT_VERSION + 1}
    document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    (path / "zarr.json").write_text(json.dumps(document))
    (path / "something").mkdir()  # that this version knows nothing of


@pytest.mark.parametrize(("make", "says"), [(foreign, "is not a store"), (newer, "has format")])
@pytest.mark.parametrize("command", ["verify", "repair", "fit", "encode", "ingest", "info"])
def test_a_store_that_is_newer_or_not_ours_is_refused_in_one_line(
    command: str, make: Callable[[Path], None], says: str, images: Path, tmp_path: Path
) -> None:
    store = tmp_path / "s.zarr"
    make(store)
    before = store_bytes(store)
    words: dict[str, tuple[str | Path, ...]] = {
        "verify": ("verify", store, "--workers", "0"),
        "repair": ("verify", store, "--repair", "--workers", "0"),
        "fit": ("fit", store, "--workers", "0"),
        "encode": ("encode", store, tmp_path / "out", "--workers", "0"),
        "ingest": ("ingest", images, store, "--workers", "0"),
        "info": ("info", store),
    }
    done = run_here(*words[command], code=None)
    assert done.returncode in (2, 3)
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr
    assert store_bytes(store) == before
    assert not (tmp_path / "out").exists()


# -- places that take no more ------------------------------------------------------------------

# What is written beyond so many bytes to one file fails, as on a disk that is full.
LIMITED = """
import resource, signal, sys
from kmeans_dask.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
del sys.argv[1]
main()
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("large") / "in", 12, side=200, modes=("RGB",))


@pytest.mark.parametrize("scope", ["shared", "image"])
def test_a_job_on_a_full_disk_says_so_and_can_be_resumed(
    scope: str, large: Path, tmp_path: Path, times: Times
) -> None:
    rng = np.random.default_rng(11)
    words = ("-k", "16", "--palette", scope, "--partition-pixels", "30000", "--workers", "0")
    run_here("compress", large, tmp_path / "quiet", *words)
    for limit in [int(number) for number in rng.integers(100, 20000, times(1, 10))]:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        command = [sys.executable, "-c", LIMITED, str(limit)]
        job: list[str | Path] = ["compress", large, tmp_path / "out", *words]
        done = subprocess.run([*command, *job], capture_output=True, text=True, timeout=600)
        assert "Traceback" not in done.stderr
        assert (done.returncode, len(done.stderr.splitlines())) == (3, 1), done.stderr
        assert "File too large" in done.stderr
        run_here("compress", large, tmp_path / "out", *words, "--resume")
        assert tree(tmp_path / "out") == tree(tmp_path / "quiet")


def can_mount(folder: Path) -> bool:
    words: list[str | Path] = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", folder]
    return os.geteuid() == 0 and not subprocess.run(words, capture_output=True).returncode


def test_a_job_on_a_small_file_system_says_so_and_can_be_resumed(
    large: Path, tmp_path: Path
) -> None:
    place = tmp_path / "small"
    place.mkdir()
    if not can_mount(place):
        pytest.skip("needs the right to mount a file system")
    words = ("compress", large, place / "out", "-k", "64", "--partition-pixels", "30000")
    run_here(*words[:2], tmp_path / "quiet", *words[3:], "--workers", "0")
    try:
        (place / "much").write_bytes(bytes(1_300_000))
        done = run_here(*words, "--workers", "0", code=3)
        assert len(done.stderr.splitlines()) == 1
        assert "No space left on device" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=100m", place], check=True)
        run_here(*words, "--workers", "0", "--resume")
        assert tree(place / "out") == tree(tmp_path / "quiet")
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("where", ["out", "out/.kmeans-dask", "file/out"])
def test_a_file_in_the_place_of_a_folder_is_refused_in_one_line(
    where: str, images: Path, tmp_path: Path
) -> None:
    """As where one may not write: which root may everywhere."""
    obstacle = tmp_path / (where.split("/")[0] if where.startswith("file") else where)
    obstacle.parent.mkdir(exist_ok=True, parents=True)
    obstacle.write_text("mine")
    out = tmp_path / where if where.startswith("file") else tmp_path / "out"
    done = run_here("compress", images, out, "-k", "8", "--workers", "0", code=None)
    assert done.returncode in (2, 3)
    assert len(done.stderr.splitlines()) == 1
    assert obstacle.read_text() == "mine"
    obstacle.unlink()
    run_here("compress", images, out, "-k", "8", "--workers", "0", "--resume")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_where_nobody_may_write_is_refused_in_one_line(
    images: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir(0o500)
    done = run_here("compress", images, tmp_path / "out", "-k", "8", "--workers", "0", code=None)
    assert done.returncode in (2, 3)
    assert len(done.stderr.splitlines()) == 1
    assert "Permission denied" in done.stderr
