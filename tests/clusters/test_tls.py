"""TLS, with the certificates of docs/tls.md."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import pytest
from dask import config
from tornado.tcpclient import TCPClient

from kmeans_dask.engine.tls import is_exposed, is_unprotected
from tests.clusters.processes import (
    PATIENCE,
    ROOT,
    Cluster,
    environment,
    open_cluster,
    refused,
    run,
    until,
)
from tests.command import tree

RECIPE, USE = re.findall(r"```bash\n(.*?)```", (ROOT / "docs/tls.md").read_text(), re.DOTALL)

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")


def made_in(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    run("bash", "-euc", RECIPE, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and a worker that were started as the document says."""
    folder = made_in(tmp_path_factory.mktemp("secured"))
    scheduler, worker, _ = re.split(r"&\n|\n(?=kmeans-dask)", USE, maxsplit=2)
    with open_cluster(folder) as cluster:
        cluster.file = folder / "cluster.json"
        here = "--host 127.0.0.1 --port 0 --dashboard-address 127.0.0.1:0"
        cluster.start(["bash", "-c", f"exec {scheduler.rstrip()} {here}"], log="scheduler.log")
        until(cluster.is_named, "the scheduler file")
        more = "--no-nanny --nthreads 1 --no-dashboard"
        cluster.start(["bash", "-c", f"exec {worker.rstrip()} {more}"], log="worker.log")
        yield cluster


def files(folder: Path) -> list[str]:
    return [
        f"--tls-ca={folder}/ca.pem",
        f"--tls-cert={folder}/cert.pem",
        f"--tls-key={folder}/key.pem",
    ]


def test_the_commands_as_written_give_the_same_bytes(
    secured: Cluster, photos: Path, local: dict[str, str]
) -> None:
    shutil.copytree(photos, secured.folder / "photos")
    command = USE[USE.index("kmeans-dask") :].rstrip()
    done = run("bash", "-c", f"{command} --colors 8", cwd=secured.folder)
    assert "the cluster at tls://127.0.0.1:" in done.stderr
    assert "warning" not in done.stderr
    assert tree(secured.folder / "out") == local


def test_dasks_own_configuration_serves_as_well(
    secured: Cluster, photos: Path, tmp_path: Path, local: dict[str, str]
) -> None:
    prefix = "DASK_DISTRIBUTED__COMM__TLS__"
    env = environment() | {
        f"{prefix}CA_FILE": str(secured.folder / "ca.pem"),
        f"{prefix}CLIENT__CERT": str(secured.folder / "cert.pem"),
        f"{prefix}CLIENT__KEY": str(secured.folder / "key.pem"),
    }
    words = ("--colors", "8", "--scheduler", secured.address)
    run("compress", photos, tmp_path / "out", *words, env=env)
    assert tree(tmp_path / "out") == local


def test_a_client_without_tls_is_refused(secured: Cluster, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plain = secured.address.replace("tls://", "tcp://")
    said = refused("compress", photos, out, "--scheduler", plain)
    assert f"the scheduler at {plain} refuses this client: it takes TLS only: name it as " in said
    assert f"{secured.address}, with --tls-ca, --tls-cert and --tls-key" in said
    said = refused("compress", photos, out, "--scheduler", secured.address)
    assert "wants TLS: add --tls-ca, --tls-cert and --tls-key" in said
    assert not out.exists()


def test_certificates_of_another_authority_are_refused(
    secured: Cluster, photos: Path, tmp_path: Path
) -> None:
    out, other = tmp_path / "out", made_in(tmp_path / "other")
    words = ("compress", photos, out, "--scheduler", secured.address)
    said = refused(*words, *files(other))
    assert "its certificate is not from the CA of --tls-ca (" in said
    mixed = [files(secured.folder)[0], *files(other)[1:]]
    said = refused(*words, *mixed)
    assert "it does not take the certificate of --tls-cert (" in said
    assert not out.exists()


def test_a_scheduler_without_tls_is_named_as_such(
    cluster: Cluster, secured: Cluster, photos: Path, tmp_path: Path
) -> None:
    address = cluster.address.replace("tcp://", "tls://")
    words = ("compress", photos, tmp_path / "out", *files(secured.folder))
    said = refused(*words, "--scheduler", address)
    assert f"the scheduler at {address} refuses this client: it takes no TLS" in said
    said = refused(*words, "--scheduler", cluster.address)
    assert f"are for a scheduler at tls://, this one is at {cluster.address}" in said


def end_of(peer: socket.socket) -> str:
    """How the other side leaves a connection."""
    try:
        while peer.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return "left open"
    return "closed"


def test_a_connection_to_a_port_that_speaks_before_tls_does_is_closed(
    secured: Cluster, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Event()
    ends: list[str] = []

    def speak(server: socket.socket) -> None:
        with suppress(OSError):  # it is closed, and that is all
            while True:
                peer, _ = server.accept()
                with peer:
                    peer.settimeout(PATIENCE)
                    peer.sendall(bytes(64))  # as a scheduler without TLS does
                    said.set()
                    ends.append(end_of(peer))

    make = TCPClient._create_stream

    def make_and_wait(*args: Any, **more: Any) -> Any:
        made = make(*args, **more)
        assert said.wait(PATIENCE)
        return made

    monkeypatch.setattr(TCPClient, "_create_stream", make_and_wait)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=speak, args=(server,))
        thread.start()
        address = f"tls://127.0.0.1:{server.getsockname()[1]}"
        words = ("compress", photos, tmp_path / "out", *files(secured.folder))
        assert "it takes no TLS" in refused(*words, "--scheduler", address, "--timeout", "1")
        server.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert len(ends) >= 2  # Dask's, and ours that asks why
    assert set(ends) == {"closed"}


def test_incomplete_tls_options_are_an_error(
    secured: Cluster, photos: Path, tmp_path: Path
) -> None:
    words = ["compress", photos, tmp_path / "out"]
    there = ["--scheduler", secured.address]
    ca, cert, key = files(secured.folder)
    said = refused(*words, *there, ca, cert)
    assert "TLS needs all three of --tls-ca, --tls-cert and --tls-key" in said
    said = refused(*words, ca, cert, key)
    assert "are for a scheduler: name it with --scheduler" in said
    said = refused(*words, *there, ca, cert, "--tls-key=nowhere.pem")
    assert "the files for TLS cannot be read: give PEM files of a CA" in said
    other = made_in(tmp_path / "other")
    said = refused(*words, *there, ca, cert, files(other)[2])
    assert "the files for TLS cannot be read: give PEM files of a CA" in said


@pytest.mark.parametrize(
    ("address", "exposed"),
    [
        ("tcp://127.0.0.1:8786", False),
        ("localhost:8786", False),
        ("tcp://[::1]:8786", False),
        ("tls://192.0.2.1:8786", False),
        ("tcp://192.0.2.1:8786", True),
        ("192.0.2.1:8786", True),
        ("ws://192.0.2.1:8786", True),
    ],
)
def test_an_address_is_exposed_where_it_is_remote_and_unencrypted(
    address: str, exposed: bool
) -> None:
    assert is_exposed(address) is exposed


def own_address() -> str | None:
    """One of this machine that is not loopback."""
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family == socket.AF_INET and not each.address.startswith("127."):
                return str(each.address)
    return None


def test_a_cluster_on_a_network_that_nobody_trusts_is_warned_of(
    photos: Path, tmp_path: Path
) -> None:
    host = own_address()
    if host is None:
        pytest.skip("needs an address of this machine that is not loopback")
    with open_cluster(tmp_path) as cluster:
        cluster.start_scheduler(host=host)
        cluster.start_worker("--host", host)
        words = ("compress", photos, "--colors", "4", "--json", "--scheduler", cluster.address)
        done = run(*words, tmp_path / "a")
        assert done.stderr.count("warning") == 1
        [line] = [line for line in done.stderr.splitlines() if "warning" in line]
        assert line.startswith(f"kmeans-dask: warning: {cluster.address} is used without TLS")
        assert "DASK_KMEANS__TRUSTED_NETWORK=true" in line
        assert "warning" not in done.stdout
        trusted = environment(DASK_KMEANS__TRUSTED_NETWORK="true")
        assert "warning" not in run(*words, tmp_path / "b", env=trusted).stderr


@pytest.mark.parametrize("value", [True, False])
def test_dasks_configuration_says_that_a_network_is_trusted(value: bool) -> None:
    with config.set({"kmeans.trusted-network": value}):
        assert is_unprotected("tcp://192.0.2.1:8786") is not value
        assert not is_unprotected("tls://192.0.2.1:8786")


def test_keys_are_for_the_account_alone_and_the_certificate_is_the_authoritys(
    tmp_path: Path,
) -> None:
    folder = made_in(tmp_path / "made")
    keys = list(folder.glob("*key.pem"))
    assert len(keys) == 2
    assert not any(key.stat().st_mode & 0o077 for key in keys)
    words = ["openssl", "verify", "-CAfile", "ca.pem", "cert.pem"]
    assert subprocess.run(words, cwd=folder, capture_output=True, timeout=60).returncode == 0
