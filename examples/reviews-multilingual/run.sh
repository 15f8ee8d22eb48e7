#!/usr/bin/env bash
# Starts the mock translation server, runs the pipeline, stops the server.
# Run from anywhere; arguments go to `rowmill run` (for example --limit 20).
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo build --release --bin rowmill --example translator
target="${CARGO_TARGET_DIR:-target}/release"

"$target/examples/translator" 8732 &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT

"$target/rowmill" run examples/reviews-multilingual/reviews.xlsx "$@"
