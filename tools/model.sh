#!/usr/bin/env bash
# Searches the quota protocol's model (tests/ledger-model) and fails when a suite finds what it should not.
# Without arguments: the suites that CI runs. With arguments: these suites, and the model's options:
# tools/model.sh -v pairs power. A name that is unknown prints all of them.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

tools/packages.sh build

[ $# -gt 0 ] || set -- pairs batch resume verify unwritable breaks

cargo build --release --package berth-ledger-model
exec "${CARGO_TARGET_DIR:-target}/release/berth-ledger-model" "$@"
