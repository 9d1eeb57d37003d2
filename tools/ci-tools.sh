#!/usr/bin/env bash
# Installs the tools that only CI runs, at pinned versions. Prints why, and ends with 75, when a
# tool cannot be had: no network, no registry.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"

CARGO_DENY=0.20.2
UNAVAILABLE=75

if ! need_cargo_tool cargo-deny "$CARGO_DENY"; then
    say "skipped: cargo-deny $CARGO_DENY cannot be installed here (see above)"
    exit "$UNAVAILABLE"
fi
