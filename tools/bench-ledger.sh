#!/usr/bin/env bash
# Measures reserve-intent-settle cycles a second through the ledger's interface, on disk, with synchronous=FULL:
# with one caller and with 64, each a session of a user of its own, by turns; medians and their ratio are printed.
#
# usage: tools/bench-ledger.sh [DIRECTORY]    where the ledger is made: on a disk, not in memory; default: target/
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p target
TMPDIR=$(realpath "${1:-target}")
export TMPDIR
if [ "$(stat -f -c %T "$TMPDIR")" = tmpfs ]; then
    echo "bench-ledger: $TMPDIR is in memory, where nothing is synced" >&2
    exit 1
fi
exec cargo test --release --quiet -p berth-daemon --bin berthd compares_one_caller_with_many -- --ignored --nocapture
