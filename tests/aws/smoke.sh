#!/usr/bin/env bash
# Tries Rowmill in your own AWS account: deploys a stack of its own, uses it, deletes it, and writes a
# report. It asks before it starts. `tests/aws/smoke.sh --help` says what it does and what it costs.
#   tests/aws/smoke.sh --sender you@example.com
#   tests/aws/smoke.sh --delete STACK      after a run that could not delete its stack
# Needs what docs/deploy.md lists: credentials, Rust, and Docker with buildx.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=$(python3 tests/python/environment.py target/smoke/venv tests/aws/smoke.txt)
if [ -z "${AWS_ENDPOINT_URL-}" ]; then
    # shellcheck source=.ci/tools
    source .ci/tools
fi
PYTHONDONTWRITEBYTECODE=1 exec "$python" tests/aws/smoke.py "$@"
