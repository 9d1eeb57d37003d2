#!/usr/bin/env bash
# Runs tests with worker, filer and jail as packages have them, under the sandbox: a call that a table lacks ends its
# session, and the test with it. `tools/sandbox.sh build` only builds.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

tools/packages.sh test

# Only these three are confined; daemon and clients may be debug programs, which the tests have built anyway.
say "building worker, filer and jail as for a package"
cargo build --profile dist --locked --bins -p berth-session -p berth-filer -p berth-jail
# That the tables have nothing for debug builds alone cannot be seen in one.
cargo test --profile dist --locked -p berth-sandbox --lib --no-run
[ "${1:-}" != build ] || exit 0
cargo test --profile dist --locked -p berth-sandbox --lib
cargo build --locked --workspace --bins

target=${CARGO_TARGET_DIR:-$ROOT/target}
BERTH_BIN_DIR=$target/sandboxed
export BERTH_BIN_DIR
mkdir -p "$BERTH_BIN_DIR"
cp "$target"/debug/{berthd,berth,berthctl} "$target"/debug/berth-puppet-program \
    "$target"/dist/{berth-worker,berth-filer,berth-jail} "$BERTH_BIN_DIR"

# Puts, gets, appends, batches, renames, removals, listings, passwords, quotas, and what fails of these; and the
# other roles of a filer, which recovers after a death and walks for a verification; and programs in jails.
tests=(append admin batches exec failures integrity listing login names operations outage quota recovery reload
    two_users unknown_size verify)
# A release has no points at which a process could be stopped.
cargo test -p berth-tests --no-fail-fast "${tests[@]/#/--test=}" -- \
    --skip a_second_verification_of_a_user_is_refused_and_one_of_another_is_not
cargo test -p berth-tests --test resume after_the_client_is_killed
