#!/usr/bin/env bash
# Measures Berth beside the file-transfer programs that are installed, on loopback, and writes docs/performance.
# As root it installs those that are missing. Arguments go to berth-bench: --short, --runs N, --only WORK, …
#
# BENCH_DISK is the directory on a disk that it works in (default: TMPDIR or /tmp), and BENCH_MEMORY the one in memory
# (default: /dev/shm). In full it needs 8 GiB and a million inodes on each.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

tools/packages.sh bench || complain "bench: going on with what is installed"
cargo build --profile dist --locked --workspace --bins --exclude berth-puppets

target=${CARGO_TARGET_DIR:-$ROOT/target}
disk=$(mktemp -d "${BENCH_DISK:-${TMPDIR:-/tmp}}/berth-bench.XXXXXX")
memory=$(mktemp -d "${BENCH_MEMORY:-/dev/shm}/berth-bench.XXXXXX")
bench=
# Here and not in the program, so that nothing stays when it is killed.
cleanup() {
    local code=$?
    trap - EXIT
    if [ -n "$bench" ]; then
        kill "$bench" 2>/dev/null || true
        wait "$bench" 2>/dev/null || true
    fi
    rm -rf -- "$disk" "$memory"
    exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

if [ "$(stat -f -c %T "$disk")" = tmpfs ]; then
    complain "bench: $disk is in memory: set BENCH_DISK to a directory on a disk"
    exit 1
fi
if [ "$(stat -f -c %T "$memory")" != tmpfs ]; then
    complain "bench: $memory is not in memory: set BENCH_MEMORY to a directory on a tmpfs"
    exit 1
fi

# Root's own target directory may be closed to the ordinary user.
chmod 755 "$disk" "$memory"
mkdir "$disk/bin" "$disk/place" "$memory/place"
for program in berthd berth-worker berth-filer berth-jail berth berthctl; do
    install -m 755 "${BERTH_BIN_DIR:-$target/dist}/$program" "$disk/bin/"
done

# Where the tests' harness looks for them, which measures what no other program is measured at.
export BERTH_BIN_DIR=$disk/bin
"$target/dist/berth-bench" --programs "$disk/bin" --disk "$disk/place" --memory "$memory/place" "$@" &
bench=$!
code=0
wait "$bench" || code=$?
bench=
exit "$code"
