# One image for the Prefect server, the worker and the pages of the history; compose.yaml starts them.
FROM python:3.11.14-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1

# git: Prefect looks for the revision of a deployment's folder. procps: to look at processes in a container.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git procps \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 cyclealign \
    && mkdir /data \
    && chown cyclealign /data

WORKDIR /app
COPY --chown=cyclealign . .
# Editable: templates and configs are edited in /app, where the command looks for them.
RUN python -m venv .venv \
    && .venv/bin/pip install --constraint constraints/app.txt --editable '.[postgres,distill]'

# vLLM in an environment of its own, for images that run on a GPU: docker compose --profile gpu build
ARG VLLM=no
RUN if [ "$VLLM" = yes ]; then python -m venv .venv-vllm && .venv-vllm/bin/pip install vllm; fi

ENV PATH=/app/.venv/bin:$PATH \
    CYCLEALIGN_HOME=/data
USER cyclealign
VOLUME /data
ENTRYPOINT ["/app/container/entrypoint.sh"]
CMD ["cyclealign", "--help"]
