# syntax=docker/dockerfile:1
# The gateway as an image: one static binary, the certificate authorities, nothing else, no shell. It runs as nobody in
# particular on a root that needs no writing. Build for both architectures:
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=1.2.3 --tag gateway:1.2.3 .

# The compiler runs on the builder's own architecture and builds for the target's: nothing is emulated.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY cmd ./cmd
COPY configs ./configs
COPY internal ./internal
ARG TARGETOS TARGETARCH
ARG VERSION=devel
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false -ldflags="-s -w -X main.version=$VERSION" -o /out/gateway ./cmd/gateway
# The folder of the state, and one for what the program wants to write for a moment: an image made from scratch has neither.
# They are copied with what is above them, since the mode of a folder that is itself copied is for the builder to choose.
RUN mkdir -p /out/writable/var/lib && mkdir -m 0700 /out/writable/var/lib/gateway /out/writable/tmp

FROM scratch
ARG VERSION=devel
LABEL org.opencontainers.image.title="gateway" \
      org.opencontainers.image.description="An authenticated, caching gateway in front of the Supabase Management API" \
      org.opencontainers.image.version=$VERSION
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /out/writable /
COPY --from=build /out/gateway /gateway
USER 65532:65532
VOLUME /var/lib/gateway
EXPOSE 8443 9090
# The binary asks itself: there is no shell and no curl. Orchestrators have probes of their own, on the admin listener.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/gateway", "health"]
ENTRYPOINT ["/gateway"]
CMD ["serve", "--config", "/etc/gateway/gateway.yaml"]
