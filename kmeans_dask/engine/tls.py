"""TLS for a cluster: the files that it needs, and why a connection is refused."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_PATIENCE = 5.0  # seconds for a port to answer
OPTIONS = "--tls-ca, --tls-cert and --tls-key"


@dataclass(frozen=True)
class Tls:
    """PEM files for TLS.

    ca: certificate of the authority that signs certificates for the cluster
    cert: certificate of this client
    key: private key of `cert`
    """

    ca: Path
    cert: Path
    key: Path


def is_encrypted(address: str) -> bool:
    """Return whether the scheme of a scheduler's address means TLS."""
    return urlsplit(address).scheme in ("tls", "wss")


def is_unprotected(address: str) -> bool:
    """Return whether messages to `address` leave this machine unencrypted on an untrusted network.

    The network is trusted where Dask's configuration has `kmeans.trusted-network`.
    """
    from dask import config

    return is_exposed(address) and not config.get("kmeans.trusted-network", False)


def is_exposed(address: str) -> bool:
    """Return whether messages to `address` leave this machine unencrypted."""
    if is_encrypted(address):
        return False
    host, _ = _place(address)
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return True
    return not all(ipaddress.ip_address(str(each[4][0])).is_loopback for each in found)


def refusal(address: str, context: ssl.SSLContext | None) -> str | None:
    """Return why the port at `address` refuses a client, or None where TLS is not the reason.

    context: TLS settings of the client; None for a client without TLS
    """
    if not is_encrypted(address):
        plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
        with suppress(OSError, ValueError):
            _shake_hands(address, plain)
            _, _, rest = address.rpartition("://")
            return f"it takes TLS only: name it as tls://{rest}, with {OPTIONS}"
        return None
    if context is None:
        return None
    try:
        _shake_hands(address, context, listen=True)
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not from the CA of --tls-ca ({error.verify_message})"
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        if "alert" in reason:
            return f"it does not take the certificate of --tls-cert ({reason})"
        return f"it takes no TLS ({reason}): name it as tcp://, or start it with TLS"
    except (OSError, ValueError):
        return None
    return None


def _shake_hands(address: str, context: ssl.SSLContext, *, listen: bool = False) -> None:
    """Connect to `address` with TLS. Raises the error that the connection fails with.

    listen: wait for the server's answer, as a refusal of the client's certificate comes late
    """
    with (
        socket.create_connection(_place(address), _PATIENCE) as plain,
        context.wrap_socket(plain) as connected,
    ):
        if listen:
            connected.recv(1)


def _place(address: str) -> tuple[str, int]:
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    return parts.hostname or "", parts.port or 8786
