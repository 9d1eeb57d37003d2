#!/usr/bin/env bash
# Installs what the tests need, builds everything, and runs all tests: units, and real processes.
# Arguments go to `cargo test` after the package selection: tools/test.sh --test resume
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

tools/packages.sh test

# The process tests run the programs that stand beside them in target/, which `cargo test` alone
# would not build for every one of them.
say "building"
cargo build --workspace --bins
cargo test --workspace --no-run

if is_root; then
    say "running as root: the programs under test run as uid $ORDINARY_ID"
else
    say "running as $(id -un): tests that need root say so and are skipped"
fi
# Tests wait for disks, for processes and for deadlines more than they compute.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}
# All of them, even after one has failed: a CI run costs too much to show one failure at a time.
exec cargo test --workspace --no-fail-fast "$@"
