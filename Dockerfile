# syntax=docker/dockerfile:1
#
# docker build -t REGISTRY/plimsoll:0.1.0 .
#
# `make image` makes the same image without an engine: the binary as /plimsoll, user 65532, the same entry point.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
# The caches stay with the builder, so the binary is copied out of the one for target/.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --profile dist --locked --package plimsoll --bin plimsoll \
    && cp target/dist/plimsoll /plimsoll

# glibc, libgcc and CA certificates; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="plimsoll" \
      org.opencontainers.image.description="Kubernetes operator that judges new versions by their metrics" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /plimsoll /plimsoll
# A number: runAsNonRoot cannot verify a name.
USER 65532:65532
ENTRYPOINT ["/plimsoll"]
