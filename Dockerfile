# One image for every process: `api`, `worker`, `migrate` and `bootstrap` are commands of it.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/quarterdeck
COPY requirements-runtime.lock .
RUN /opt/quarterdeck/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement requirements-runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY workflows workflows
COPY activities activities
COPY delivery delivery
COPY workers workers
COPY models models
COPY cli cli
COPY simcloud simcloud
COPY node node
RUN /opt/quarterdeck/bin/pip install --no-cache-dir --no-deps --no-index --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --create-home --home-dir /var/lib/quarterdeck quarterdeck
COPY --from=build /opt/quarterdeck /opt/quarterdeck
ENV PATH=/opt/quarterdeck/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    QUARTERDECK_HOME=/var/lib/quarterdeck \
    QUARTERDECK_ENVIRONMENT=production
USER quarterdeck
WORKDIR /var/lib/quarterdeck
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "workers"]
CMD ["--help"]
