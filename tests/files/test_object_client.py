"""Clients of buckets, by what the environment says of credentials."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kmeans_dask.files import ObjectPath, object_client
from tests.files.server import KEY, SECRET, Bucket, Server


def test_what_the_environment_says_now_counts(
    bucket: Bucket, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("a", b"1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    elsewhere = object_client.open_client(f"s3://{bucket.name}")
    assert object_client.open_client(f"s3://{bucket.name}") is elsewhere
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    assert object_client.open_client(f"s3://{bucket.name}") is not elsewhere
    assert ObjectPath(bucket.url("a")).read_bytes() == b"1"


def test_it_is_said_that_obstore_is_missing() -> None:
    code = (
        "import sys; sys.modules['obstore'] = sys.modules['obstore.store'] = None\n"
        "from kmeans_dask import cli; cli.main(['compress', 's3://b/in', 'out'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == (
        "kmeans-dask: s3://b needs obstore: pip install 'kmeans-dask[cloud]', here and on all "
        "workers\n"
    )


def test_files_need_no_obstore() -> None:
    code = (
        "import sys, kmeans_dask.cli.compress; assert not {'obstore', 'boto3'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("gs://photos", {"GOOGLE_SKIP_SIGNATURE": "true"}),
        ("az://photos", {"AZURE_STORAGE_ACCOUNT_NAME": "us", "AZURE_STORAGE_ACCOUNT_KEY": "aGk="}),
    ],
)
def test_what_environments_of_others_say_is_enough(
    url: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked of a server."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert type(object_client.open_client(url)).__name__ in ("GCSStore", "AzureStore")


def test_files_of_credentials_are_read(tmp_path: Path, server: Server) -> None:
    """As the tools of Amazon write them, in a process that has nothing of it in its environment."""
    bucket = server.bucket("of-a-profile")
    bucket.put("a", b"1")
    (tmp_path / "credentials").write_text(
        f"[me]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    (tmp_path / "config").write_text("[profile me]\nregion = us-east-1\n")
    code = (
        "from kmeans_dask.files import ObjectPath; "
        "print(ObjectPath('s3://of-a-profile/a').read_bytes())"
    )
    files = {
        "AWS_PROFILE": "me",
        "AWS_ENDPOINT_URL": server.url,
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
    }
    rest = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=rest | files, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "b'1'\n", done.stderr
