# Commands for contributors. Install `just` with `cargo install just` or `pip install rust-just`;
# .ci/checks puts it into target/checks/bin too.

# List the recipes.
default:
    @just --list --unsorted

# Format, links, dependencies, spelling, wording, the book, and clippy.
check:
    cargo fmt --all --check
    python3 .ci/check-links.py
    .ci/checks
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Crates that link the AWS SDK, which takes minutes to build.
sdk := "--exclude rowmill-aws --exclude rowmill-lambda --exclude rowmill-tests"

# The quick path: unit tests and the tests that need no AWS SDK.
test *ARGS:
    cargo test --workspace --no-default-features --locked {{ sdk }} {{ ARGS }}

# The built program end to end.
e2e *ARGS:
    cargo test --locked -p rowmill-tests {{ ARGS }}

# Adapters and template against emulators of AWS (installs 400 MB under target/).
aws *ARGS:
    .ci/build-functions
    cargo test --locked -p rowmill-aws -p rowmill-lambda -p rowmill-tests {{ ARGS }} -- --include-ignored --skip twenty_five_thousand_records

# Rewrite generated files: the pipeline reference, its schema and the snapshots.
bless:
    ROWMILL_BLESS=1 cargo test --locked -p rowmill-domain
    INSTA_UPDATE=always cargo test --workspace --no-default-features --locked {{ sdk }}

# Fuzz the workbook reader, SECONDS for each target.
fuzz SECONDS="20":
    .ci/fuzz {{ SECONDS }}

# Run the benchmarks of docs/benchmarks.md that need no data of your own.
bench:
    python3 benches/end_to_end.py
    python3 benches/workbook.py
    python3 benches/http_step.py
    cargo bench -p rowmill-steps

# Build the book and open it.
book:
    mdbook build --open

# Everything that CI runs.
ci:
    .ci/run
