"""Tests that kernels are loaded only from folders where no other user can have written."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import pytest

from kmeans_dask.kernels import private_folders
from kmeans_dask.kernels.compiler import import_numba
from kmeans_dask.kernels.jit import Kernel, jit
from kmeans_dask.kernels.private_folders import bring_kernels, is_private, kernel_folder
from kmeans_dask.kmeans import morton_codes
from tests.command import tree
from tests.security.traps import crafted, index_name

SOURCE = Path(morton_codes.__file__)
NOBODY = 65534


@pytest.fixture(autouse=True)
def _ask_again() -> Iterator[None]:
    """Forget which folders were found to be private, before and after each test."""
    private_folders._made.cache_clear()
    yield
    private_folders._made.cache_clear()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache folder that numba is told of, the only one where kernels may be kept."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.delenv("KMEANS_DASK_KERNELS", raising=False)
    places = private_folders._places
    monkeypatch.setattr(private_folders, "_places", lambda source: list(places(source))[:1])
    return tmp_path / "cache"


def double(x: int) -> int:
    return x * 2


def fresh() -> Kernel:
    """Return a kernel as a new process has it, neither loaded nor compiled."""
    return jit(double)


def counts(kernel: Kernel) -> tuple[int, int]:
    """Return how often a kernel was loaded from the cache, and how often it was compiled."""
    stats = kernel.dispatcher.stats
    return sum(stats.cache_hits.values()), sum(stats.cache_misses.values())


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `path` belong to another user, or let this process act as another user."""
    if os.geteuid() == 0:
        os.lchown(path, NOBODY, -1)
    else:  # without root, this process acts as a user who owns none of the folders
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)


# -- which folders are private


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o555])
def test_a_folder_of_our_own_is_private(mode: int, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own").chmod(mode)
    assert is_private(tmp_path / "own")


@pytest.mark.parametrize("at", ["own", "own/kernels"])
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o720])
def test_one_that_others_can_write_is_not_nor_is_what_it_holds(
    at: str, mode: int, tmp_path: Path
) -> None:
    (tmp_path / "own" / "kernels").mkdir(parents=True)
    (tmp_path / at).chmod(mode)
    assert not is_private(tmp_path / "own" / "kernels")


def test_our_folder_inside_a_shared_one_like_tmp_is_private(tmp_path: Path) -> None:
    (tmp_path / "all" / "own").mkdir(parents=True)
    (tmp_path / "all").chmod(0o1777)
    assert is_private(tmp_path / "all" / "own")
    assert not is_private(tmp_path / "all")


@pytest.mark.parametrize("whose", ["all", "all/own"])
def test_what_belongs_to_others_is_not(
    whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "all" / "own").mkdir(parents=True)
    (tmp_path / "all").chmod(0o1777)
    give_away(tmp_path / whose, monkeypatch)
    assert not is_private(tmp_path / "all" / "own")


def test_a_link_a_missing_path_and_a_relative_path_are_not_private(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    assert not is_private(tmp_path / "link")
    assert not is_private(tmp_path / "none")
    assert not is_private(Path("folder"))


def test_the_home_counts_and_what_is_above_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "home" / "own"
    own.mkdir(parents=True)
    tmp_path.chmod(0o777)
    assert not is_private(own)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert is_private(own)
    (tmp_path / "home").chmod(0o777)
    assert not is_private(own)


# -- which folder is taken


def test_the_cache_that_numba_is_told_of_is_made_for_us_alone(cache: Path) -> None:
    before = os.umask(0)
    try:
        folder = kernel_folder(SOURCE)
    finally:
        os.umask(before)
    assert folder
    assert folder.parent == cache
    assert [stat.S_IMODE(each.stat().st_mode) for each in (cache, folder)] == [0o755, 0o755]


@pytest.mark.parametrize("name", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"])
def test_a_cache_that_hangs_on_the_current_folder_is_none(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "KMEANS_DASK_KERNELS"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "source.py"
    (tmp_path / "__pycache__").touch()  # a file in its place, so that this folder is not taken
    source.touch()
    assert kernel_folder(source)
    private_folders._made.cache_clear()
    monkeypatch.setenv(name, ".k")
    found = kernel_folder(source)
    assert found is None if name != "NUMBA_CACHE_DIR" else str(found).startswith(f"{tmp_path}/home")
    assert not (tmp_path / ".k").exists()


@pytest.mark.parametrize("shut", ["777", "away"])
def test_kernels_go_beside_the_source_or_into_the_home_where_the_cache_is_not_private(
    shut: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    source = tmp_path / "source.py"
    source.touch()
    cache.mkdir()
    cache.chmod(0o777)
    beside = kernel_folder(source)
    assert beside == tmp_path / "__pycache__"
    private_folders._made.cache_clear()
    beside.chmod(0o777) if shut == "777" else beside.rename(tmp_path / "other")
    if shut == "away":
        beside.symlink_to(cache)
    in_home = kernel_folder(source)
    assert in_home
    assert in_home.parent == tmp_path / "home" / "numba"


def test_the_cache_of_a_container_image_is_used_where_there_is_no_other(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = kernel_folder(Path(__file__))
    assert shipped
    assert fresh()(3) == 6
    kept = tree(cache)
    assert kept
    cache.rename(tmp_path / "image")
    cache.mkdir()
    cache.chmod(0o777)
    private_folders._made.cache_clear()
    monkeypatch.setenv("KMEANS_DASK_KERNELS", str(tmp_path / "image"))
    kernel = fresh()
    assert kernel(4) == 8
    assert counts(kernel) == (1, 0)
    (tmp_path / "image").chmod(0o777)
    kernel = fresh()
    assert kernel(4) == 8
    assert counts(kernel) == (0, 1)
    assert tree(tmp_path / "image") == kept


# -- which files are read


def as_it_is(_: Path) -> None:
    pass


def writable(path: Path) -> None:
    path.chmod(0o666)


def for_the_group(path: Path) -> None:
    path.chmod(0o664)


def linked(path: Path) -> None:
    other = path.with_suffix(".other")
    path.rename(other)
    path.symlink_to(other)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("change", [as_it_is, writable, for_the_group, linked, pipe, gone])
def test_a_file_that_others_could_have_written_is_not_read_and_written_over(
    change: Callable[[Path], None], suffix: str, cache: Path, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        assert fresh()(3) == 6
    finally:
        os.umask(before)
    [path] = cache.glob(f"*/*.{suffix}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    if change not in (as_it_is, pipe, gone):
        crafted(path, tmp_path / "told")
    change(path)
    kernel = fresh()
    assert kernel(4) == 8
    assert not (tmp_path / "told").exists()
    assert counts(kernel) == ((1, 0) if change is as_it_is else (0, 1))
    again = fresh()
    assert again(4) == 8
    assert counts(again) == (1, 0)


def test_a_crafted_file_of_our_own_would_be_run(cache: Path, tmp_path: Path) -> None:
    """Check that files of this user are trusted, so that the test above could fail."""
    kernel = fresh()
    folder = kernel_folder(Path(__file__))
    assert folder
    crafted(folder / index_name(kernel), tmp_path / "told")
    assert kernel(3) == 6
    assert (tmp_path / "told").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_file_of_somebody_else_is_not_read(
    suffix: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fresh()(3) == 6
    [path] = cache.glob(f"*/*.{suffix}")
    crafted(path, tmp_path / "told")
    give_away(path, monkeypatch)
    kernel = fresh()
    assert kernel(4) == 8
    assert counts(kernel) == (0, 1)
    assert not (tmp_path / "told").exists()


def test_a_kernel_that_cannot_be_cached_still_works(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = fresh()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert kernel(3) == 6
    monkeypatch.undo()
    assert not list(cache.glob("*/*.nb?"))


# -- kernels that a container image brings


@pytest.mark.parametrize("state", ["sound", "writable", "link", "relative"])
def test_kernels_that_others_could_have_written_are_not_brought(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, cache = tmp_path / "image", tmp_path / "cache"
    (image / "clustering").mkdir(parents=True)
    for name in ("a.nbi", "b.nbi"):
        (image / "clustering" / name).write_bytes(b"kernel")
    wanted = tree(image)
    if state == "writable":
        (image / "clustering" / "a.nbi").chmod(0o666)
    if state == "link":
        (image / "clustering" / "a.nbi").rename(tmp_path / "a")
        (image / "clustering" / "a.nbi").symlink_to(tmp_path / "a")
    if state in ("writable", "link"):
        del wanted["clustering/a.nbi"]
    monkeypatch.chdir(tmp_path)
    bring_kernels(*("image", "cache") if state == "relative" else (str(image), str(cache)))
    if state == "relative":
        assert not cache.exists()
    else:
        assert tree(cache) == wanted
    (image / "clustering").chmod(0o777)
    bring_kernels(str(image), str(tmp_path / "empty"))
    assert not tree(tmp_path / "empty")
    image.chmod(0o777)
    bring_kernels(str(image), str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


# -- numba's settings


def test_numba_looks_for_no_file_when_it_compiles(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that only the environment counts, even where numba was imported with a file before."""
    import_numba()
    config: Any = numba.core.config
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".numba_config.yaml").write_text("opt: '1'\ncache_locator_classes: none.Such\n")
    monkeypatch.setattr(config, "_config_fname", ".numba_config.yaml")
    config.reload_config()
    assert int(config.OPT) == 1
    assert fresh()(3) == 6
    assert int(config.OPT) == 3
    assert not config.CACHE_LOCATOR_CLASSES
    assert list(cache.glob("*/*.nbi"))


@pytest.mark.parametrize("name", ["NUMBA_CACHE_LOCATOR_CLASSES", "NUMBA_DISABLE_JIT"])
def test_numba_may_be_told_otherwise_in_the_environment(
    name: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that numba's settings do not move kernels, and that none are kept without the JIT."""
    monkeypatch.setenv(name, "1" if name == "NUMBA_DISABLE_JIT" else "none.Such")
    config: Any = numba.core.config
    try:
        config.reload_config()
        assert fresh()(3) == 6
    finally:
        monkeypatch.delenv(name)
        config.reload_config()
    assert bool(list(cache.glob("*/*.nbi"))) is (name != "NUMBA_DISABLE_JIT")
