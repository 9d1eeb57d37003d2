#!/usr/bin/env bash
# Runs tests with the worker and the filer of a release, under the sandbox: a call that a table lacks ends its
# session, and the test with it. `tools/sandbox.sh build` only builds.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

tools/packages.sh test

# Only these two are confined; daemon and clients may be debug programs, which the tests have built anyway.
say "building worker and filer as in a release"
cargo build --release --locked --bins -p berth-session -p berth-filer
[ "${1:-}" != build ] || exit 0
cargo build --locked --workspace --bins

target=${CARGO_TARGET_DIR:-$ROOT/target}
BERTH_BIN_DIR=$target/sandboxed
export BERTH_BIN_DIR
mkdir -p "$BERTH_BIN_DIR"
cp "$target"/debug/{berthd,berth,berthctl} "$target"/release/{berth-worker,berth-filer} "$BERTH_BIN_DIR"

# None of these stops a process at a point, which a release does not have.
# Puts, gets, appends, batches, renames, removals, listings, passwords, quotas, and what fails of these.
tests=(append admin batches failures integrity listing login names operations outage quota two_users
    unknown_size)
cargo test -p berth-tests --no-fail-fast "${tests[@]/#/--test=}"
