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

# A cargo subcommand of this version: there already, or installed; fails when it cannot be had. It is compiled without
# optimisation, since it runs for seconds and its compilation would take minutes.
need_cargo_tool() {
    local name=$1 version=$2
    if [ "$(cargo "${name#cargo-}" --version 2>/dev/null)" = "$name $version" ]; then
        return
    fi
    say "installing $name $version"
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        cargo install --quiet --locked "$name@$version"
}

# Gives files that root made to the ordinary user.
give() {
    if is_root; then
        chown -R "$ORDINARY_ID:$ORDINARY_ID" -- "$@"
    fi
}
