"""Client of a bucket, opened with the credentials and settings that the environment names.

Credentials come from the environment, in the providers' own ways, and are never part of a URL, so
that no store, log or message can hold them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmeans_dask.errors import UsageError
from kmeans_dask.files import retries
from kmeans_dask.files.object_errors import describe_error

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_clients: dict[str, ObjectStore] = {}  # by the URLs of their buckets
_environments: dict[str, dict[str, str]] = {}  # those at which these were opened


def environment() -> dict[str, str]:
    """Return the environment variables that hold credentials and settings of object stores.

    A notebook may change these variables at any time.
    """
    prefixes = ("AWS_", "AZURE_", "GOOGLE_", "HOME")
    return {name: value for name, value in os.environ.items() if name.startswith(prefixes)}


def open_client(bucket_url: str) -> ObjectStore:
    """Return the client of a bucket, opened anew where the environment has changed.

    Raises UsageError where it cannot be opened, as without obstore or with settings that are wrong.
    """
    now = environment()
    if bucket_url not in _clients or _environments.get(bucket_url, now) != now:
        _clients[bucket_url], _environments[bucket_url] = _open(bucket_url), now
    return _clients[bucket_url]


def is_unencrypted(bucket_url: str) -> bool:
    """Return whether the bucket is reached without TLS, which would detect changed bytes."""
    return bucket_url.startswith("s3://") and _s3_endpoint().startswith("http://")


def _open(bucket_url: str) -> ObjectStore:
    try:
        from obstore import exceptions
        from obstore.store import from_url
    except ImportError as error:
        raise UsageError(
            f"{bucket_url} needs obstore: pip install 'kmeans-dask[cloud]', here and on all workers"
        ) from error
    policy = retries.RETRY_POLICY
    options: dict[str, Any] = {
        "retry_config": policy.of_parts,
        "client_options": policy.of_client,
    }
    if bucket_url.startswith("s3://"):
        if endpoint := _s3_endpoint():
            options["endpoint"] = endpoint
            options["client_options"]["allow_http"] = endpoint.startswith("http://")
        options |= _aws_profile_options()
    try:
        client: ObjectStore = from_url(bucket_url, **options)
    except (exceptions.BaseError, ValueError) as error:
        raise UsageError(f"{bucket_url} cannot be opened: {describe_error(error)}") from None
    return client


def _s3_endpoint() -> str:
    """Return the URL of S3 that the environment names, or "" for that of Amazon."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _aws_profile_options() -> Mapping[str, Any]:
    """Return client options from the files in ~/.aws; none where the environment has the keys."""
    profile = os.environ.get("AWS_PROFILE")
    files = [
        Path(os.environ.get(variable, Path.home() / ".aws" / name))
        for variable, name in (
            ("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            ("AWS_CONFIG_FILE", "config"),
        )
    ]
    if os.environ.get("AWS_ACCESS_KEY_ID") and not profile:
        return {}
    if not profile and not any(file.is_file() for file in files):
        return {}
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        raise UsageError(
            "the files in ~/.aws need boto3 to be read: pip install boto3, or set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    provider = Boto3CredentialProvider()
    region = provider.config.get("region")
    return {"credential_provider": provider} | ({"region": region} if region else {})
