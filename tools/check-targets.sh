#!/usr/bin/env bash
# Checks that berth, berthctl and the library compile for other systems than this one, without their compilers: types and names,
# for TARGETS or the arguments. Each target's standard library is installed by rustup where it is missing.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

TARGETS=(aarch64-unknown-linux-gnu x86_64-unknown-linux-musl x86_64-apple-darwin aarch64-apple-darwin x86_64-unknown-freebsd)
[ $# -eq 0 ] || TARGETS=("$@")

if ! command -v rustup >/dev/null; then
    complain "skipped: standard libraries of other systems come by rustup, which is not here"
    exit 75
fi

# ring brings C and assembly, which nobody here can compile for all of these. A check links nothing, so empty files
# do in the place of objects.
stubs=$(mktemp -d)
trap 'rm -rf "$stubs"' EXIT
cat >"$stubs/cc" <<'STUB'
#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
        -o) : >"$2"; shift ;;
        -o*) : >"${1#-o}" ;;
    esac
    shift
done
STUB
cat >"$stubs/ar" <<'STUB'
#!/bin/sh
for word; do
    case $word in *.a) : >"$word" ;; esac
done
STUB
chmod +x "$stubs/cc" "$stubs/ar"

for target in "${TARGETS[@]}"; do
    say "checking for $target"
    rustup --quiet target add "$target"
    variable=${target//-/_}
    # A directory of its own, so that nothing of it is ever linked.
    env "CC_$variable=$stubs/cc" "AR_$variable=$stubs/ar" RUSTFLAGS="-D warnings" \
        cargo check --quiet --package berth --package berth-cli --lib --bins --target "$target" \
        --target-dir "${CARGO_TARGET_DIR:-target}/check-targets"
done
