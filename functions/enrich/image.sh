#!/bin/sh
# Builds the static program and the file tree of the image.
#   functions/enrich/image.sh amd64|arm64 DIRECTORY
# Needs cargo-zigbuild and zig, which can link for both architectures on either of them.
set -eu
case $1 in
    amd64) target=x86_64-unknown-linux-musl ;;
    arm64) target=aarch64-unknown-linux-musl ;;
    *)
        echo "unknown architecture '$1': expected amd64 or arm64 (in a Dockerfile, BuildKit sets it)" >&2
        exit 2
        ;;
esac
rustup target add "$target"
cargo zigbuild --release --locked --package rowmill-enrich --bin enrich --target "$target"
install -D "target/$target/release/enrich" "$2/enrich"
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$2/etc/ssl/certs/ca-certificates.crt"
install -d -m 1777 "$2/tmp"
