# One image for scheduler, workers and jobs: all must hold the same versions.
#   docker build --build-arg BASE=python:3.12-slim --build-arg EXTRAS=cloud --tag kmeans-dask .
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
ARG EXTRAS=cloud
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
# The version is all that pip wants of the package to install what it needs: so that is done
# again only when what it needs changes.
COPY kmeans_dask/__init__.py kmeans_dask/
RUN python3 -m venv --without-pip /opt/venv \
    && python3 -m pip --python /opt/venv/bin/python install --no-cache-dir \
        --constraint constraints.txt ".[${EXTRAS}]" \
    && find /opt/venv -type d -name tests -prune -exec rm -r {} +
# Kernels are compiled for any processor of this kind, and belong to files of that time: whole
# seconds, as that is what layers of images keep.
ENV NUMBA_CPU_NAME=generic
COPY kmeans_dask kmeans_dask
COPY docker/kernels.py docker/
RUN python3 -m pip --python /opt/venv/bin/python install --no-cache-dir --no-deps \
        --force-reinstall --no-compile . \
    && find /opt/venv/lib/*/site-packages/kmeans_dask -exec touch --date=2020-02-02Z {} + \
    && /opt/venv/bin/python -m compileall -q /opt/venv/lib/*/site-packages/kmeans_dask \
    && NUMBA_CACHE_DIR=/opt/kernels /opt/venv/bin/python docker/kernels.py

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/kernels /opt/kernels
# What is written at run time is below /tmp: all else may be read-only. Nothing is imported from the
# current folder, by Dask's own processes neither.
ENV PYTHONSAFEPATH=1 PATH=/opt/venv/bin:$PATH HOME=/tmp NUMBA_CPU_NAME=generic NUMBA_CACHE_DIR=/tmp/numba \
    KMEANS_DASK_KERNELS=/opt/kernels
WORKDIR /data
USER 1000:1000
ENTRYPOINT ["kmeans-dask"]
