# The images of this project, one target each: operator, gateway, sidecar, runner; without a target, a gateway for one
# machine:
#
#   docker build -t mcp-gateway . && docker run -p 8080:8080 -v mcp:/var/lib/mcp mcp-gateway
#
# `built` and `tools` can be given instead of made: docker build --build-context built=FOLDER. hack/images does.

# --- the programs ----------------------------------------------------------------------------------------------------

# Static: mcp-sidecar runs in images of which nothing is known, and the others need no distribution so.
FROM rust:1.95-bookworm AS compile
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    target="$(rustc -vV | sed -n 's/^host: //p')" \
    && RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target "$target" \
        --package operator --package gateway --package sidecar \
    && mkdir /out \
    && cp "target/$target/release/mcp-operator" "target/$target/release/mcp-gateway" "target/$target/release/mcp-sidecar" /out/

FROM scratch AS built
COPY --from=compile /out /

# --- uv and Node.js: /uv, /uvx, /node with bin and lib -----------------------------------------------------------------

FROM debian:bookworm-slim AS fetch
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates python3-pip
COPY hack/versions.env /hack/
COPY hack/images.d/tools /hack/images.d/
RUN /hack/images.d/tools /out

FROM scratch AS tools
COPY --from=fetch /out /

# --- what the small images take along ----------------------------------------------------------------------------------

FROM debian:bookworm-slim AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*

FROM scratch AS operator
COPY --from=base /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=built /mcp-operator /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/mcp-operator"]
CMD ["run"]

FROM scratch AS gateway
COPY --from=base /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=built /mcp-gateway /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/mcp-gateway"]
CMD ["serve", "--kubernetes", "--listen", ":8080", "--admin", ":8081"]

FROM scratch AS sidecar
COPY --from=base /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=built /mcp-sidecar /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/mcp-sidecar"]

# --- what servers run in: uvx, npx, node, python ---------------------------------------------------------------------

FROM base AS runner
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /usr/share/doc /usr/share/man \
    && useradd --uid 65532 --user-group --create-home --home-dir /home/mcp --shell /usr/sbin/nologin mcp
COPY --from=tools / /usr/local/
ENV HOME=/home/mcp UV_PYTHON_DOWNLOADS=never NPM_CONFIG_UPDATE_NOTIFIER=false
WORKDIR /home/mcp
USER 65532:65532

# --- a gateway for one machine, with all its servers -------------------------------------------------------------------

FROM runner
COPY --from=built /mcp-gateway /mcp-sidecar /usr/local/bin/
USER root
RUN install --directory --owner 65532 --group 65532 --mode 0700 /var/lib/mcp
USER 65532:65532
# Everything that is written: what was deployed, keys, installed packages.
ENV HOME=/var/lib/mcp MCP_STATE_DIR=/var/lib/mcp MCP_LISTEN=0.0.0.0:8080
WORKDIR /var/lib/mcp
VOLUME /var/lib/mcp
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/mcp-gateway"]
CMD ["serve"]
