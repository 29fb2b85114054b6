"""Connection to a running cluster, which is checked before a Dask client is made."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kmeans_dask.engine.answers import within
from kmeans_dask.engine.tls import OPTIONS, Tls, is_encrypted, refusal
from kmeans_dask.errors import UsageError
from kmeans_dask.interrupts import check_interrupted
from kmeans_dask.stopwatch import Stopwatch, pace_of

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

_SOON = 5.0  # seconds after which a scheduler that does not answer is asked whether it takes TLS


@contextmanager
def remote_client(address: str, timeout: float, tls: Tls | None) -> Iterator[Client]:
    """Yield a client of the scheduler at `address`, once that has a worker.

    Raises UsageError where no scheduler answers, or no worker is there, within `timeout` seconds,
    and where TLS is in the way.
    """
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    for name in ("distributed", "distributed.client"):  # the latter has a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)  # this package says what matters
    security = _security(address, tls)
    try:
        _await_greeting(address, timeout, security)
        with warnings.catch_warnings(action="ignore", category=VersionMismatchWarning):
            client = Client(address, timeout=timeout, set_as_default=False, security=security)
    except UsageError:
        raise
    except Exception as error:  # an address that does not parse raises nearly anything
        raise UsageError(
            f"no scheduler answers at {address} within {timeout:g} s: check the address, or leave "
            "--scheduler out to work on this machine"
        ) from error
    with client:
        _await_worker(client, address, timeout)
        yield client


def _await_worker(client: Client, address: str, timeout: float) -> None:
    """Wait for the first worker. Raises UsageError where none is there after `timeout` seconds."""
    scheduler: Any = client.scheduler
    pace = pace_of(timeout)
    stopwatch = Stopwatch(pace)
    while not client.sync(within, timeout, scheduler.ncores_running):
        if stopwatch.read() > timeout:
            raise UsageError(
                f"the scheduler at {address} has no worker within {timeout:g} s: start one with "
                f"`dask worker {address}`"
            )
        check_interrupted()
        time.sleep(pace)


def _security(address: str, tls: Tls | None) -> Security:
    """Return the security settings for `address`, from `tls` or else from Dask's configuration.

    Raises UsageError where `address` requires files and there are none, where they cannot be read,
    or where TLS is asked for and `address` is without.
    """
    from distributed.security import Security

    if tls and not is_encrypted(address):
        raise UsageError(f"{OPTIONS} are for a scheduler at tls://, this one is at {address}")
    try:
        security = (
            Security(
                tls_ca_file=str(tls.ca), tls_client_cert=str(tls.cert), tls_client_key=str(tls.key)
            )
            if tls
            else Security()
        )
        context = security.get_connection_args("client")["ssl_context"]
    except (OSError, ValueError) as error:  # an error of TLS is an OSError
        raise UsageError(
            "the files for TLS cannot be read: give PEM files of a CA, a certificate and its own "
            f"key ({error})"
        ) from error
    if is_encrypted(address) and context is None:
        raise UsageError(f"the scheduler at {address} wants TLS: add {OPTIONS}")
    if security.require_encryption and not is_encrypted(address):
        raise UsageError(
            f"Dask's configuration requires encryption, and {address} has none: name a tls:// one"
        )
    return security


def _await_greeting(address: str, timeout: float, security: Security) -> None:
    """Wait until a scheduler answers at `address`.

    Raises UsageError where TLS is in the way, and what `_greet` raises.
    """
    arguments = security.get_connection_args("client")
    soon = min(timeout, _SOON)
    # Ask before there is a client, which would wait forever on a port that takes connections and
    # sends nothing. Ask in a thread, as the caller's may have an event loop, as in a notebook.
    with ThreadPoolExecutor(1) as thread:
        try:
            thread.submit(_ask, address, soon, arguments).result()
        except Exception:
            why = refusal(address, arguments["ssl_context"])
            if why:
                raise UsageError(f"the scheduler at {address} refuses this client: {why}") from None
            if timeout <= soon:
                raise
            thread.submit(_ask, address, timeout - soon, arguments).result()


def _ask(address: str, timeout: float, arguments: dict[str, Any]) -> None:
    """Run `_greet` in an event loop of its own."""
    from tornado.ioloop import IOLoop

    loop = IOLoop(make_current=False)
    try:
        loop.run_sync(lambda: _greet(address, timeout, arguments))
    finally:
        # Dask, and tornado below it, leave a connection open that they give up half-way.
        loop.close(all_fds=True)


async def _greet(address: str, timeout: float, arguments: dict[str, Any]) -> None:
    """Check that a scheduler answers at `address`.

    Raises ValueError where it is no scheduler, and TimeoutError where nothing answers in time.
    """
    from distributed.comm.core import connect as connect_comm

    async def identity() -> dict[str, Any]:
        comm = await connect_comm(address, timeout=timeout, **arguments)
        try:
            await comm.write({"op": "identity", "reply": True})
            answer: dict[str, Any] = await comm.read()
            return answer
        finally:
            comm.abort()

    answer = await within(timeout, identity)
    if answer.get("type") != "Scheduler":
        raise ValueError(f"{address} is a {answer.get('type')}")
