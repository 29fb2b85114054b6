# One image for scheduler, workers and jobs: all must hold the same versions.
ARG BASE=python:3.12-slim
FROM ${BASE}
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY kmeans_dask kmeans_dask
RUN python3 -m pip install --no-cache-dir --constraint constraints.txt . \
    && useradd --create-home worker
USER worker
WORKDIR /data
ENTRYPOINT ["kmeans-dask"]
