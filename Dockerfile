# Images of Forebay: `docker build --target operator|member|node .`; without a target one for every role, which the chart uses.
# `make image` writes the same into an archive where there is no Docker engine.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
RUN pip install --no-cache-dir --disable-pip-version-check hatchling build
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
COPY cache cache
RUN python -m build --wheel --no-isolation -o /wheels .
COPY tools/constraints.txt ./
# each role's packages in a folder of their own, compiled as the root will be read-only
RUN set -e; wheel=$(ls /wheels/*.whl); \
    install() { target=/roles/$1/opt/forebay; \
      pip install --no-cache-dir --disable-pip-version-check --no-compile -c constraints.txt --target "$target/lib" "$wheel[$2]"; \
      mv "$target/lib/bin" "$target/bin-all"; mkdir -p "$target/bin"; \
      cp "$target"/bin-all/forebay* "$target/bin/"; rm -r "$target/bin-all"; \
      find "$target/lib" -depth \( -name tests -o -name test \) -type d -exec rm -r {} +; \
      find "$target/lib" -name '*.pyi' -delete; \
      python -m compileall -q -s "/roles/$1" -p / --invalidation-mode unchecked-hash "$target/lib" || true; }; \
    install operator operator; install member cache; install node mount,csi; \
    install forebay operator,cache,client,mount,csi

FROM ${BASE} AS base
RUN groupadd --gid 65532 forebay && useradd --uid 65532 --gid 65532 --home-dir / --no-create-home forebay \
 && mkdir -p /etc/forebay /run/forebay /var/lib/forebay \
 && pip uninstall -y pip setuptools wheel 2>/dev/null || true
ENV PATH=/opt/forebay/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/forebay/lib PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
WORKDIR /
USER 65532:65532

FROM base AS operator
COPY --from=build /roles/operator /
CMD ["forebay-operator"]

FROM base AS member
COPY --from=build /roles/member /
CMD ["python", "-m", "forebay_cache.main", "member", "--config", "/etc/forebay/member.json"]

# mounts need root
FROM base AS node
COPY --from=build /roles/node /
USER 0:0
CMD ["python", "-m", "forebay_cache.main", "agent", "--config", "/etc/forebay/agent.json"]

FROM base AS forebay
COPY --from=build /roles/forebay /
CMD ["forebay", "--help"]
