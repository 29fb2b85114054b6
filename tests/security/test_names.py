"""File names of any kind go through, are escaped where they are shown, or fail by name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from kmeans_dask.plan.output_names import folded
from tests.command import run, run_here, summary, tree
from tests.steps.strategies import noise, save

WORDS = ("--workers", "0", "-k", "4", "--always")
NAMES = [
    b"two\nlines", b"\x1b[31mred\x1b[0m", b"\r\x08\x07bell", b"<img src=x onerror=alert(1)>",
    b"not utf-8 \xff\xfe", "\N{TURTLE}\u202egnp".encode(), b"{{7*7}}[bold]%s%n", b"-rf", b"~",
    b"'\"`$(id);", "\u2028line".encode(), b"a=b&c", "e\u0301".encode(),
]  # fmt: skip


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an image, a folder and two files that are no images for each name."""
    folder = tmp_path_factory.mktemp("strange") / "in"
    for name in map(os.fsdecode, NAMES):
        save(folder / f"{name}.png", noise(1))
        save(folder / f"{name}.d" / "x.png", noise(2))
        (folder / f"{name}.bad.png").write_bytes(b"no image")
        (folder / f"{name}.{name[:9]}").write_bytes(b"no image")
    return folder


def shown_safely(text: str) -> None:
    assert not set(text) & set("\x1b\x07\x08\r\u202e\u2028")
    assert "\udcff" not in text


def test_strange_names_go_through_and_are_escaped_wherever_they_stand(
    strange: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run("compress", strange, out, *WORDS, code=1)
    shown_safely(done.stdout + done.stderr)
    names = {os.fsdecode(name) for name in NAMES}
    images = {f"{name}.png" for name in names} | {f"{name}.d/x.png" for name in names}
    assert tree(out).keys() == images | {"palette.json", "failures.jsonl"}
    lines = (out / "failures.jsonl").read_text().split("\n")
    assert lines.pop() == ""
    failed = {json.loads(line)["path"] for line in lines}
    assert failed == {str(strange / f"{name}.bad.png") for name in names}
    assert all(line.isascii() and line.isprintable() for line in lines)
    page = (out / "report.html").read_text()
    shown_safely(page.replace("\r\n", "\n"))
    assert "<img src=x" not in page
    assert "{{7*7}}" in page


def test_json_of_strange_names_is_one_line_that_says_them_exactly(
    strange: Path, tmp_path: Path
) -> None:
    done = run("compress", strange, tmp_path / "out", *WORDS, "--json", code=1)
    assert done.stdout.count("\n") == 1
    assert done.stdout.strip().isprintable()
    paths = {failure["path"] for failure in json.loads(done.stdout)["failures"]}
    assert paths == {str(strange / f"{os.fsdecode(name)}.bad.png") for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_named_on_the_command_line_is_escaped_in_every_message(
    name: bytes, tmp_path: Path
) -> None:
    missing = tmp_path / os.fsdecode(name)
    image = save(tmp_path / "in" / "a.png", noise(1))
    for words, code in (
        (("compress", missing, tmp_path / "out"), 2),
        (("compress", image, tmp_path / "out", "--palette-file", missing), 2),
        (("info", missing), 2),
        (("report", missing), 2),
        (("palette", missing), 2),
    ):
        done = run_here(*words, code=code)
        shown_safely(done.stderr)
        assert done.stderr.count("\n") == 1


def test_a_palette_of_a_strange_name_is_shown_escaped(tmp_path: Path) -> None:
    for name in map(os.fsdecode, NAMES):
        path = tmp_path / f"{name}.hex"
        path.write_text("ff0000\n00ff00\n")
        done = run_here("palette", path)
        shown_safely(done.stdout)
        assert done.stdout.count("\n") == 3
        target = tmp_path / f"{name}.gpl"
        run_here("palette", path, target)
        assert len(target.read_bytes().splitlines()) == 6


def test_a_name_too_long_for_the_output_fails_alone(tmp_path: Path) -> None:
    limit = os.pathconf(tmp_path, "PC_NAME_MAX")
    folder = tmp_path / "in"
    longest = "x" * (limit - 4)
    for name in (f"{longest}.png", "y.png", f"{'z' * limit}"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(save(tmp_path / "one.png", noise(1)).read_bytes())
    found = summary("compress", folder, tmp_path / "out", *WORDS, code=1)
    assert (found["compressed"], found["failed"]) == (2, 1)
    assert found["failures"][0]["path"] == str(folder / ("z" * limit))
    assert "its name in OUTPUT cannot be had: File name too long" in found["failures"][0]["reason"]
    words = (*WORDS, "--format", "webp")
    found = summary("compress", folder, tmp_path / "webp", *words, code=1)
    assert (found["compressed"], found["failed"]) == (1, 2)
    assert {"y.webp"} <= tree(tmp_path / "webp").keys()


def test_a_scheduler_knows_no_name_of_a_file(strange: Path, tmp_path: Path) -> None:
    def known(dask_scheduler: Any) -> tuple[set[str], set[str]]:
        keys = {str(transition[0]) for transition in dask_scheduler.transition_log}
        return set(dask_scheduler.task_prefixes), keys

    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        words = ("--scheduler", cluster.scheduler_address, "-k", "4")
        run("compress", strange, tmp_path / "out", *words, code=1)
        prefixes, keys = client.run_on_scheduler(known)
        logs = str([client.get_scheduler_logs(), client.get_worker_logs()])
    assert prefixes >= {"ingest", "fit", "encode"}
    assert any(key.startswith("ingest-") for key in keys)
    for said in (str(prefixes), str(keys), logs):
        assert "bell" not in said
        assert str(strange) not in said


# -- names that are alike ---------------------------------------------------------------------


def test_names_alike_are_written_under_names_that_no_file_system_takes_for_one(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "in"
    for name in ("a.png", "A.png", "sub/x.png", "SUB/x.png", "\u00e9.png", "e\u0301.png"):
        save(folder / name, noise(1))
    n = len(list(folder.rglob("*.png")))
    assert summary("compress", folder, tmp_path / "out", *WORDS)["compressed"] == n
    names = {folded(name) for name in tree(tmp_path / "out") if name.endswith(".png")}
    assert len(names) == n
