#!/usr/bin/env bash
# Runs the tests that need no debug build with the programs of a release, under the sandbox: a call that a
# table lacks ends its session, and the test with it.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

tools/packages.sh test

say "building a release"
cargo build --release --workspace --bins --exclude berth-puppets
target=${CARGO_TARGET_DIR:-target}
BERTH_BIN_DIR=$(cd "$target/release" && pwd)
export BERTH_BIN_DIR

# Puts, gets, appends, batches, renames, removals, listings, passwords, quotas, and what fails of these.
tests=(append admin batches failures integrity listing login names operations outage quota two_users
    unknown_size)
cargo test -p berth-tests --no-fail-fast "${tests[@]/#/--test=}"
