# syntax=docker/dockerfile:1
# The server of `animatediff serve`, for a CPU (default) or CUDA:
#   docker build -t animatediff .
#   docker build -t animatediff:cuda --build-arg TORCH=cuda .
# It runs as a user of its own with a read-only root; compose.yaml shows the volumes. The image
# contains FFmpeg (in PyAV's wheel) with parts under the GPL.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm AS build
ARG TORCH=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/animatediff
ENV PATH=/opt/animatediff/bin:$PATH
WORKDIR /source
COPY constraints.txt ./
# Of torch, PyPI has the CUDA build; the CPU build has an index of its own, which does not have the
# pinned versions of what torch needs.
RUN if [ "$TORCH" = cpu ]; then \
        pip install -c constraints.txt --extra-index-url "$TORCH_INDEX" torch; \
    else pip install -c constraints.txt torch; fi
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN pip install -c constraints.txt '.[serve]' && pip check
# What is inside, with its licences.
COPY docker/licences.py ./
RUN python licences.py > /opt/animatediff/LICENCES.txt

FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="animatediff" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="Animations from text: page, API and queue"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin animatediff \
    && install -d -o animatediff -g animatediff /data /models
COPY --from=build /opt/animatediff /opt/animatediff
ENV PATH=/opt/animatediff/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/data \
    XDG_CACHE_HOME=/tmp \
    HF_HUB_OFFLINE=1 \
    ANIMATEDIFF_MODELS=/models
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8188
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8188/healthz', timeout=4)"]
ENTRYPOINT ["animatediff"]
CMD ["serve", "--address", "0.0.0.0", "--folder", "/data/server", "--token-file", "/run/secrets/token"]
