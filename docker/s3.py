"""An object store in memory, with a bucket `photos`, at port 9000 of its container."""

from __future__ import annotations

import signal

import boto3
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

PORT, BUCKET = 9000, "photos"
ENDS = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    server = ThreadedMotoServer("0.0.0.0", PORT, verbose=False)  # noqa: S104 - of its container
    server.start()
    boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{PORT}",
        region_name="us-east-1",
        aws_access_key_id=BUCKET,
        aws_secret_access_key=BUCKET,
    ).create_bucket(Bucket=BUCKET)
    signal.sigwait(ENDS)
    server.stop()


if __name__ == "__main__":
    main()
