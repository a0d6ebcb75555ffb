# One image for every role: `metallb controller`, `metallb speaker`, and the operator's commands.
#
#   docker build -t metallb:0.1.0 .

ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY metallb_cli metallb_cli
COPY examples examples
RUN python -m venv /opt/metallb && /opt/metallb/bin/pip install --no-cache-dir .

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="metallb" \
      org.opencontainers.image.description="A bare-metal load balancer for Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/metallb /opt/metallb
ENV PATH=/opt/metallb/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# By number: runAsNonRoot cannot judge a name. The speaker's manifest chooses user 0, which alone can be given NET_RAW.
USER 65534:65534
WORKDIR /
ENTRYPOINT ["metallb"]
