# The gateway as a small image: one program on a plain Debian, run by nobody in particular.

FROM rust:1.95.0-slim-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends protobuf-compiler \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY schemas schemas
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin sluice \
 && install -D --strip target/release/sluice /out/sluice \
 && install -d -o 65532 -g 65532 /out/data

FROM debian:12.11-slim
# the authorities that an etcd with https:// may be verified by
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/sluice /usr/local/bin/sluice
# what the process keeps: everything else may be read-only
COPY --from=build --chown=65532:65532 /out/data /var/lib/sluice/data
USER 65532:65532
WORKDIR /var/lib/sluice
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/sluice"]
CMD ["run", "--config", "/etc/sluice/config.yaml"]
