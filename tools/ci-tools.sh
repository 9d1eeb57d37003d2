#!/usr/bin/env bash
# Installs the tools that only CI runs, at pinned versions. Prints why, and ends with 75, when a
# tool cannot be had: no network, no registry.
set -euo pipefail

CARGO_DENY=0.20.2
UNAVAILABLE=75

if [ "$(cargo deny --version 2>/dev/null)" = "cargo-deny $CARGO_DENY" ]; then
    exit 0
fi
# Four minutes on two cores.
echo "installing cargo-deny $CARGO_DENY"
if ! cargo install --quiet --locked "cargo-deny@$CARGO_DENY"; then
    echo "skipped: cargo-deny $CARGO_DENY cannot be installed here (see above)"
    exit "$UNAVAILABLE"
fi
