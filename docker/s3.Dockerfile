# A server that speaks S3, to try object storage with: moto's, which is made for tests.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
WORKDIR /src
COPY constraints.txt ./
RUN python3 -m venv --without-pip /opt/venv \
    && python3 -m pip --python /opt/venv/bin/python install --no-cache-dir \
        --constraint constraints.txt "moto[s3]" flask flask-cors

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
COPY docker/s3.py /opt/s3.py
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
ENTRYPOINT ["python3", "/opt/s3.py"]
