#!/usr/bin/env bash
# Builds the Debian packages berth-server and berth-client in target/debian, from programs that are optimised as a whole.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

STAGE=$ROOT/target/debian
PROGRAMS=(berthd berthctl berth berth-worker berth-filer berth-jail)

fail() { complain "deb: $*"; exit 1; }

tools/packages.sh deb

say "building"
cargo build --profile dist --locked --workspace --bins --exclude berth-puppets --exclude berth-bench
rm -rf -- "$STAGE"
mkdir -p "$STAGE/bin"
for program in "${PROGRAMS[@]}"; do
    install -m 755 "${CARGO_TARGET_DIR:-target}/dist/$program" "$STAGE/bin/"
done

say "writing manual pages and completions"
# Like the tests of the same generator, so that where they have run nothing is compiled for it.
date=$(date --utc --date="@$(dpkg-parsechangelog --show-field Timestamp)" +%F)
cargo run --quiet --locked --package berth-cli --example manual "$STAGE" "$date"

# A page that cannot be set is found here and not by its reader.
for page in "$STAGE"/manual/*.[0-9] docs/man/*.[0-9]; do
    warnings=$(MANWIDTH=100 man --warnings -l "$page" 2>&1 >/dev/null) || fail "man cannot show $page"
    [ -z "$warnings" ] || fail "$page: $warnings"
done

say "writing the notices of what is linked"
mkdir "$STAGE"/{server,client}
tools/notices.sh berth-daemon berth-session berth-filer berth-jail berth-cli >"$STAGE/server/THIRD-PARTY"
tools/notices.sh berth-cli >"$STAGE/client/THIRD-PARTY"

say "packing"
# Files belong to root in the packages, whoever builds them.
export DEB_RULES_REQUIRES_ROOT=no
debian/rules clean >/dev/null
debian/rules binary
debian/rules clean >/dev/null
ls -l "$STAGE"/*.deb
