# The image of worker and api: the one binary, without the embedded stack, as a user without rights.

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package darkroom --no-default-features --features server \
    && strip --strip-debug -o /darkroom target/release/darkroom

FROM debian:12.12-slim
LABEL org.opencontainers.image.title="darkroom" \
      org.opencontainers.image.description="Durable media generation on Temporal" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /darkroom /usr/local/bin/darkroom

# What this build is called where Worker Versioning is on, and in histories. No two builds may be called the same.
ARG BUILD_ID=0.1.0
ENV WORKER_BUILD_ID=$BUILD_ID \
    DARKROOM_LISTEN=0.0.0.0:8080 \
    METRICS_LISTEN=0.0.0.0:9464

USER 10001:10001
EXPOSE 8080 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["darkroom", "probe", "http://127.0.0.1:9464/readyz"]
ENTRYPOINT ["darkroom"]
CMD ["--help"]
