# syntax=docker/dockerfile:1
# laghound alone in an image: one static file, no shell, nobody's user, nothing that has to be written.
#
#   docker buildx build --platform linux/amd64,linux/arm64 -t laghound .
#
# Each platform is built on its own kind of machine or under emulation; what was downloaded and compiled is kept between
# builds. deploy/README.md says how this file is checked.

FROM rust:1.95-alpine AS build
RUN apk add --no-cache build-base=~0.5
WORKDIR /src
# What .dockerignore lets through.
COPY . .
ARG TARGETPLATFORM
# The binary is taken out of the cache, which is gone from the image with this step.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,id=target-$TARGETPLATFORM,sharing=locked \
    cargo build --locked --release --features kafka --bin laghound \
    && install -D -m 0755 target/release/laghound /out/laghound

FROM scratch
LABEL org.opencontainers.image.title="laghound" \
      org.opencontainers.image.description="Says which service made requests slow, from OpenTelemetry traces" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY --from=build /out/laghound /laghound
# nobody, by number, as there is no /etc/passwd.
USER 65532:65532
EXPOSE 4317 4318 9479
STOPSIGNAL SIGTERM
# The binary asks its own admin endpoint. Where that is another one, say so to both: as LAGHOUND_ADMIN_ENDPOINT. Kubernetes does not
# use this; its probes are in deploy/kubernetes.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 CMD ["/laghound", "health"]
ENTRYPOINT ["/laghound"]
# In a container spans and scrapes come from outside of it. Not as variables, which would override a file of settings.
CMD ["serve", "--receiver.grpc.endpoint", "0.0.0.0:4317", "--receiver.http.endpoint", "0.0.0.0:4318", \
     "--admin.endpoint", "0.0.0.0:9479"]
