#!/usr/bin/env bash
# Fuzzes: tools/fuzz.sh smoke runs each target for FUZZ_SECONDS (60), two at once; tools/fuzz.sh run TARGET runs one
# for FUZZ_FOR seconds (600); tools/fuzz.sh build only builds. What is found lies in fuzz/artifacts afterwards, new
# coverage in fuzz/found.
# Prints why, and ends with 75, when the fuzzer cannot be had: no nightly compiler, no registry.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

CARGO_FUZZ=0.13.2
UNAVAILABLE=75
TARGETS=(frames journals logins messages paths sessions tables)

# One build directory, outside of the sources, for all targets.
FUZZ=(cargo +nightly fuzz)
WHERE=(--fuzz-dir fuzz --target-dir "$ROOT/target/fuzz")

# Compiled in half the time, with fewer runs a second.
QUICKLY=(--dev --codegen-units 1)

# No single allocation above 4 MiB, whatever a message states, where a frame may have 1 MiB.
LIMITS=(-malloc_limit_mb=4 -rss_limit_mb=1024 -timeout=10)

need_fuzzer() {
    if ! cargo +nightly --version >/dev/null 2>&1; then
        say "skipped: no nightly compiler here (rustup toolchain install nightly); the corpora run in make test"
        exit "$UNAVAILABLE"
    fi
    tools/packages.sh fuzz
    if ! need_cargo_tool cargo-fuzz "$CARGO_FUZZ"; then
        say "skipped: cargo-fuzz $CARGO_FUZZ cannot be installed here (see above)"
        exit "$UNAVAILABLE"
    fi
}

# One target for so many seconds. New inputs go to fuzz/found, so that fuzz/corpus has only what was chosen.
fuzz() {
    local target=$1 seconds=$2
    mkdir -p "fuzz/found/$target"
    "${FUZZ[@]}" run "${WHERE[@]}" "${BUILD[@]}" "$target" "fuzz/found/$target" "fuzz/corpus/$target" -- \
        "-max_total_time=$seconds" "-dict=fuzz/dictionaries/$target" -print_final_stats=1 "${LIMITS[@]}"
}

# The same with its output in a file, which is shown when it fails.
quietly() {
    local target=$1 seconds=$2 log="$ROOT/target/fuzz/$1.log"
    if fuzz "$target" "$seconds" >"$log" 2>&1; then
        say "$target: $(grep -E 'Done [0-9]+ runs' "$log" || echo done)"
        return
    fi
    cat "$log" >&2
    complain "$target: failed; docs/TESTING.md says what to do with fuzz/artifacts/$target"
    return 1
}

case ${1:-} in
    smoke | build) BUILD=("${QUICKLY[@]}") ;;
    *) BUILD=() ;;
esac
need_fuzzer
"${FUZZ[@]}" build "${WHERE[@]}" "${BUILD[@]}"
case ${1:-} in
    smoke)
        failed=0
        for ((first = 0; first < ${#TARGETS[@]}; first += 2)); do
            pids=()
            for target in "${TARGETS[@]:first:2}"; do
                quietly "$target" "${FUZZ_SECONDS:-60}" &
                pids+=("$!")
            done
            for pid in "${pids[@]}"; do
                wait "$pid" || failed=1
            done
        done
        exit "$failed"
        ;;
    build) ;;
    run) fuzz "${2:?which target? ${TARGETS[*]}}" "${FUZZ_FOR:-600}" ;;
    *)
        complain "build, smoke, or run TARGET, where TARGET is one of: ${TARGETS[*]}"
        exit 2
        ;;
esac
