# One image for all programs of astropix-daq; docker-compose.yml says which one a container runs.
FROM python:3.12-slim AS build
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE astropix_programs.py ./
RUN python -m venv /opt/astropix && /opt/astropix/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY protocol protocol
COPY astropix_pytest astropix_pytest
COPY daqd daqd
COPY monitor monitor
RUN /opt/astropix/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
RUN useradd --system --create-home --uid 990 daq && install -d -o daq /data /run/astropix-daq
COPY --from=build /opt/astropix /opt/astropix
ENV PATH=/opt/astropix/bin:$PATH RUNTIME_DIRECTORY=/run/astropix-daq
USER daq
WORKDIR /
VOLUME /data
CMD ["daqd", "--help"]
