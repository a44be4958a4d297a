# The one image of mirrord: the binary as a static file, and nothing beside it.
#   docker build -t registry.example/mirrord:0.1.0 .
FROM rust:1.91-bookworm AS build
WORKDIR /build
COPY . .
# glibc's static half answers no look-ups of names by itself; in the cluster the
# binary is given addresses.
RUN target="$(uname -m)-unknown-linux-gnu" \
 && RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --bin mirrord --target "$target" \
 && cp "target/$target/release/mirrord" /mirrord

FROM scratch
COPY --from=build /mirrord /mirrord
USER 65532:65532
ENTRYPOINT ["/mirrord"]
