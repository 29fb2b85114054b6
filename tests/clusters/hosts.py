"""Several hosts on this machine: network namespaces, with a cable each to a switch.

Addresses are inside the namespaces only. These have no names: the kernel removes one with the
last process in it, and each process in one dies with the tests, however these end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Host:
    """A host, whose processes begin with `prefix`.

    port: the name that the switch has for its cable
    """

    address: str
    prefix: tuple[str, ...]
    port: str
    switch: tuple[str, ...]

    def cut_off(self) -> None:
        """From here on packets to it and from it vanish; nobody is told."""
        _ip(self.switch, f"link set {self.port} down")


def why_not() -> str | None:
    """Why there can be no such hosts here, if there can be none."""
    for command in ("ip", "unshare", "nsenter", "setpriv"):
        if not shutil.which(command):
            return f"needs {command}(8), Debian's packages iproute2 and util-linux"
    if os.geteuid():
        return "needs root, to make network namespaces"
    for kind in ("veth", "bridge"):
        words = ["unshare", "--net", "ip", "link", "add", "name", "probe", "type", kind]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        if done.returncode:
            return f"this machine lets nobody make a {kind} in a namespace ({done.stderr.strip()})"
    return None


@contextmanager
def open_hosts(n: int) -> Iterator[list[Host]]:
    """So many hosts that reach each other, and nothing else."""
    holders: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(n + 1):
            holders.append(_hold())
        switch, *inside = (_prefix(holder) for holder in holders)
        _ip(switch, "link add bridge type bridge")
        _ip(switch, "link set bridge up")
        hosts = []
        for number, (prefix, holder) in enumerate(zip(inside, holders[1:], strict=True), 1):
            host = Host(f"10.77.0.{number}", prefix, f"port{number}", switch)
            _ip(switch, f"link add {host.port} type veth peer name eth0 netns {holder.pid}")
            _ip(switch, f"link set {host.port} master bridge up")
            _ip(prefix, f"address add {host.address}/24 dev eth0")
            _ip(prefix, "link set eth0 up")
            _ip(prefix, "link set lo up")
            hosts.append(host)
        yield hosts
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


def _hold() -> subprocess.Popen[bytes]:
    """A process in a namespace of its own, which waits for nothing."""
    holder = subprocess.Popen(
        [*_MORTAL, "unshare", "--net", "sh", "-c", "echo ready && exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout
    assert holder.stdout.readline() == b"ready\n"
    return holder


def _prefix(holder: subprocess.Popen[bytes]) -> tuple[str, ...]:
    """What starts a process in the same namespace."""
    return (*_MORTAL, "nsenter", f"--net=/proc/{holder.pid}/ns/net")


def _ip(prefix: Sequence[str], words: str) -> None:
    done = subprocess.run([*prefix, "ip", *words.split()], capture_output=True, timeout=60)
    assert done.returncode == 0, (words, done.stderr)


_MORTAL = (shutil.which("setpriv") or "setpriv", "--pdeathsig", "KILL")
