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

# Temporary files of tests are in memory if possible, because the local adapters sync to disk.
export TMPDIR := `.ci/tmp`

# nextest if it is installed.
run := `command -v cargo-nextest > /dev/null && echo 'nextest run' || echo test`

# Everything except the crates and features that need the AWS SDK, which takes minutes to build.
quick := "--workspace --exclude rowmill-aws --exclude rowmill-tests-aws --no-default-features --locked"

# The quick path: unit tests and tests/local, without the AWS SDK.
test *ARGS:
    cargo {{ run }} {{ if ARGS =~ '(^| )-p ' { "--no-default-features --locked" } else { quick } }} {{ ARGS }}

# The built program end to end.
e2e *ARGS:
    cargo {{ run }} {{ quick }} --test e2e {{ ARGS }}

# Faults at every call and storms, in virtual time. `just storms one_storm` plays that of ROWMILL_SEED.
storms *ARGS:
    cargo test --locked -p rowmill-tests-storm --no-default-features --features virtual-time --test faults --test sweeps --test storms -- --nocapture {{ if ARGS == '' { '' } else { '--include-ignored ' + ARGS } }}

# Adapters and template against emulators of AWS (installs 400 MB under target/).
aws *ARGS:
    .ci/build-functions
    cargo test --locked -p rowmill-aws
    cargo test --locked -p rowmill-tests-aws --test services --test throttled --test deployment {{ ARGS }} -- --include-ignored

# Rewrite generated files: the pipeline reference, its schema, the states of a run and the snapshots.
bless:
    ROWMILL_BLESS=1 cargo test --locked -p rowmill-pipeline -p rowmill-runs
    ROWMILL_BLESS=1 cargo test --locked -p rowmill-api --no-default-features --features openapi --lib openapi
    INSTA_UPDATE=always cargo test {{ quick }}

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
