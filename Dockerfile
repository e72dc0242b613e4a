# The image of Everpost. Its command is the argument: `up` (the default: API, worker and a Valkey of its own), `api`,
# `worker`, or any other command of `everpost`. It writes only to /data and /tmp, and to
# /files, where a fleet mounts the folder that all of its containers share.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS builder
WORKDIR /build
COPY pyproject.toml README.md LICENSE schema.sql ./
COPY service service
COPY workers workers
# The environment has no pip, so nothing can be installed after the build.
RUN python -m venv --without-pip /opt/everpost \
    && pip wheel --quiet --disable-pip-version-check --no-cache-dir --no-deps --wheel-dir /wheels . \
    && pip --python /opt/everpost/bin/python install --quiet --disable-pip-version-check --no-cache-dir \
        --find-links /wheels 'everpost[embedded,postgresql,accounts]'

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Everpost" \
    org.opencontainers.image.description="A durable publish-task service on Litestar, arq, Redis, and SQLite or PostgreSQL" \
    org.opencontainers.image.licenses="MIT"
# The embedded Valkey's memory allocator needs libatomic, which slim images lack (docs/decisions/0013).
RUN apt-get update -qq \
    && apt-get install -qq --yes --no-install-recommends libatomic1 \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 everpost \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin everpost \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data /files
COPY --from=builder /opt/everpost /opt/everpost
# A container is reached through its network, so the API binds to all addresses and needs EVERPOST_TOKEN.
ENV PATH=/opt/everpost/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    EVERPOST_DATA=/data \
    EVERPOST_HOST=0.0.0.0 \
    EVERPOST_LOG_FORMAT=json
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["everpost", "health", "--ready"]
ENTRYPOINT ["everpost"]
CMD ["up"]
