#!/usr/bin/env bash
# Sourced by the other scripts: where the project is, and as whom its programs run.

# shellcheck disable=SC2034  # used by those that source this
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The uid that stands in for an ordinary user when root runs us: berthd never serves as root.
# The tests' harness uses the same (tests/src/account.rs).
ORDINARY_ID=64123

say() { printf '%s\n' "$*"; }
complain() { printf '%s\n' "$*" >&2; }
is_root() { [ "$(id -u)" -eq 0 ]; }

# What to put before a command that is to run as the ordinary user. Each of these words executes
# the next one in its own place, so that a background job's pid is the program's own.
if is_root; then
    AS_USER=(setpriv "--reuid=$ORDINARY_ID" "--regid=$ORDINARY_ID" --clear-groups -- env)
else
    AS_USER=(env)
fi

# Gives files that root made to the ordinary user.
give() {
    if is_root; then
        chown -R "$ORDINARY_ID:$ORDINARY_ID" -- "$@"
    fi
}
