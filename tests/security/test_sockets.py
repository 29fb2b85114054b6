"""What a job listens on while it runs, as the kernel has it."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import photograph

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")

_LISTEN = "0A"


def listening() -> dict[str, str]:
    """The address of each TCP socket that listens on this machine, IPv4 and IPv6, by its inode."""
    found = {}
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net", table)
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            _, local, _, state, *rest = line.split()
            if state == _LISTEN:
                found[rest[5]] = address(local.split(":")[0])
    return found


def address(digits: str) -> str:
    """Of the kernel's hexadecimal digits: words of four bytes in the machine's own order.

    >>> address("0100007F")
    '127.0.0.1'
    """
    words = [bytes.fromhex(digits[i : i + 8]) for i in range(0, len(digits), 8)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return str(ipaddress.ip_address(packed))


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rpartition(")")[2].split()[1]
            )
        except OSError:  # it has ended
            continue
    members = [pid]
    for member in members:
        members += [child for child, parent in parents.items() if parent == member]
    return members


def sockets_of(pid: int) -> set[str]:
    """Inodes of the sockets that a process has open."""
    found = set()
    try:
        for link in Path("/proc", str(pid), "fd").iterdir():
            target = str(link.readlink())
            if target.startswith("socket:["):
                found.add(target[len("socket:[") : -1])
    except OSError:  # it has ended, or closed one
        pass
    return found


def test_addresses_are_read_as_the_kernel_writes_them() -> None:
    assert address("00000000") == "0.0.0.0"
    assert address("0" * 32) == "::"
    assert ipaddress.ip_address(address("0000000000000000FFFF00000100007F")).is_loopback is (
        ipaddress.ip_address("::ffff:127.0.0.1").is_loopback
    )


@pytest.mark.parametrize("words", [(), ("--workers", "0")], ids=["default", "in one process"])
def test_a_job_listens_on_loopback_only(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    photo = photograph("astronaut.png", (500, 500))
    for i in range(80):  # more than a small job, which starts no workers by default
        photo.save(tmp_path / "in" / f"{i}.png", compress_level=1)
    environment = {k: v for k, v in os.environ.items() if k != "DASK_SCHEDULER_ADDRESS"}
    command = [sys.executable, "-m", "kmeans_dask", "compress", tmp_path / "in", tmp_path / "out"]
    seen: dict[str, str] = {}
    with subprocess.Popen(
        [*map(str, command), "--partition-pixels", "1", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as job:
        while job.poll() is None:
            here = listening()
            for pid in family(job.pid):
                seen |= {inode: here[inode] for inode in sockets_of(pid) & here.keys()}
            time.sleep(0.05)
        assert job.stderr is not None
        errors = job.stderr.read()
    assert job.returncode == 0, errors
    # by default the scheduler, its dashboard, and of each worker it and its nanny
    assert len(seen) >= (0 if words else 4)
    assert not (words and seen)
    assert all(ipaddress.ip_address(each).is_loopback for each in seen.values()), seen
