"""Objects by the library that was chosen, obstore, and by s3fs: milliseconds a call.

    python -m benchmarks.storage [--runs 5]

Against moto's S3 server on loopback, a process of its own. s3fs takes part where it is installed;
it wants other versions than ours of what both need, so in an environment of its own:

    python -m venv peers
    peers/bin/pip install boto3 flask flask-cors 'moto[s3]' obstore 's3fs>=2025'
    peers/bin/python -m benchmarks.storage
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from statistics import median

from kmeans_dask.files.object_path import ObjectPath
from tests.files.server import started

SMALL, LARGE, NAMES = bytes(1 << 10), bytes(8 << 20), 300
Calls = dict[str, tuple[int, Callable[[], object]]]  # how often, and what


def of_obstore(bucket: str) -> Calls:
    small, large, many = (ObjectPath(f"s3://{bucket}/ours/{name}") for name in ("s", "l", "many"))
    for number in range(NAMES):
        (many / str(number)).write_bytes(b"1")
    return {
        "write 1 kB": (100, lambda: small.write_bytes(SMALL)),
        "read 1 kB": (100, small.read_bytes),
        "write 8 MB": (5, lambda: large.write_bytes(LARGE)),
        "read 8 MB": (5, large.read_bytes),
        f"list {NAMES}": (10, lambda: list(many.walk())),
    }


def of_s3fs(bucket: str) -> Calls:
    from s3fs import S3FileSystem

    files = S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"], use_listings_cache=False)
    top = f"{bucket}/theirs"
    for number in range(NAMES):
        files.pipe_file(f"{top}/many/{number}", b"1")
    return {
        "write 1 kB": (100, lambda: files.pipe_file(f"{top}/s", SMALL)),
        "read 1 kB": (100, lambda: files.cat_file(f"{top}/s")),
        "write 8 MB": (5, lambda: files.pipe_file(f"{top}/l", LARGE)),
        "read 8 MB": (5, lambda: files.cat_file(f"{top}/l")),
        f"list {NAMES}": (10, lambda: files.find(f"{top}/many", detail=True)),
    }


def measure(times: int, call: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds a call: that pass, and of this process's CPU."""
    since, spent = time.perf_counter(), time.process_time()
    for _ in range(times):
        call()
    return (
        1000 * (time.perf_counter() - since) / times,
        1000 * (time.process_time() - spent) / times,
    )


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--runs", type=int, default=5)
    args = words.parse_args()
    libraries = {"obstore": of_obstore} | ({"s3fs": of_s3fs} if find_spec("s3fs") else {})
    print(", ".join(f"{name} {metadata.version(name)}" for name in (*libraries, "moto")))
    with started() as server:
        os.environ |= server.environment
        server.bucket("photos")
        sides = {name: library("photos") for name, library in libraries.items()}
        for what in sides["obstore"]:
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
            for run in range(args.runs + 1):
                for name, calls in sides.items():
                    took = measure(*calls[what])
                    found[name] += [took] * (run > 0)  # the first does not count
            for name, runs in found.items():
                passed, spent = (median(each) for each in zip(*runs, strict=True))
                print(f"  {what:12} {name:8} {passed:7.2f} ms, {spent:6.2f} ms of CPU")


if __name__ == "__main__":
    main()
