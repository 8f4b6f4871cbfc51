# One image for all programs of astropix-daq; docker-compose.yml says which one a container runs.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements.lock requirements-dev.lock pyproject.toml README.md LICENSE astropix_programs.py ./
# The environment has no pip of its own: what runs later cannot install anything.
RUN python -m venv --without-pip /opt/astropix
RUN pip --python /opt/astropix/bin/python install --no-cache-dir --no-compile --only-binary :all: --require-hashes -r requirements.lock
# What builds our package is pinned as well, and stays here.
RUN sed -n '/^setuptools==/,/[^\\]$/p' requirements-dev.lock > build.lock && pip install --no-cache-dir --require-hashes -r build.lock
COPY protocol protocol
COPY astropix_runtime astropix_runtime
COPY daqd daqd
COPY monitor monitor
COPY apx apx
COPY astropix_pytest astropix_pytest
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir wheels .
RUN pip --python /opt/astropix/bin/python install --no-cache-dir --no-compile --no-deps wheels/*.whl

FROM python:3.11-slim-bookworm
RUN useradd --system --create-home --uid 990 daq && install -d -o daq -m 0700 /run/astropix-daq /keys /keys/daqd /keys/reader /keys/operator && install -d -o daq /data /alarms /run/apx-sanity /keys/page && chmod 0755 /keys
COPY --from=build /opt/astropix /opt/astropix
ENV PATH=/opt/astropix/bin:$PATH RUNTIME_DIRECTORY=/run/astropix-daq PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER daq
WORKDIR /
VOLUME /data
CMD ["daqd", "--help"]
