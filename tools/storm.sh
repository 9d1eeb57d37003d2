#!/usr/bin/env bash
# Runs the storm: KILLS kills (300) from the seed SEED (the clock's). Builds what it needs.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

tools/packages.sh test

# Unoptimised: the switches that take a rule away are in no release.
cargo build --workspace --bins
export KILLS=${KILLS:-300} SEED=${SEED:-}
exec cargo test -p berth-tests --test storm -- --nocapture
