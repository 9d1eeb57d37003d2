#!/usr/bin/env bash
# Runs the micro-benchmarks in a short form and prints what they say: hashing, framing, channels, the ledger. Nothing
# is judged by its time. `cargo bench -p CRATE` runs them at full length (docs/PERFORMANCE.md).
#
# usage: tools/bench-smoke.sh         all of them, optimised; under 3 minutes on two cores from a built tree
#        tools/bench-smoke.sh ci      those of `common`, with what the tests have built: seconds, after `make test`
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

tools/packages.sh build

BENCHES=(-p berth-common -p berth-daemon --features berth-daemon/bench)
SECONDS_EACH=0.3
if [ "${1:-}" = ci ]; then
    # The whole workspace, so that dependencies have the features with which the tests have built them. The ledger's
    # benchmark would need the daemon once more, and SQLite optimised to say anything.
    BENCHES=(--workspace --profile dev --bench hashing --bench framing --bench channels)
    SECONDS_EACH=0.1
    say "unoptimised but for what the tests need: compare these figures with those of other CI runs alone"
fi

cargo bench --locked --quiet "${BENCHES[@]}" --no-run
cargo bench --locked --quiet "${BENCHES[@]}" -- --warm-up-time 0.1 --measurement-time "$SECONDS_EACH" \
    --sample-size 10 --nresamples 1000 --noplot --discard-baseline 2> >(grep -v '^Benchmarking ' >&2)
