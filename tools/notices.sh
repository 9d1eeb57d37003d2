#!/usr/bin/env bash
# Prints what third parties' licences ask for: of each crate that is linked into the programs of the crates named,
# its version and licence, and the notices that its source has. `tools/deb.sh` puts it into the packages.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

texts=$(mktemp -d)
trap 'rm -rf "$texts"' EXIT

# Neither what builds the programs nor what tests them is in them.
selected=()
for crate; do selected+=(--package "$crate"); done
linked() {
    cargo tree --locked --offline --edges normal,no-proc-macro --prefix none --format '{p}' "${selected[@]}" |
        awk 'NF { print $1, substr($2, 2) }' | sort -u
}
known() {
    cargo metadata --locked --offline --format-version 1 | jq -r '.packages[] | select(.source != null)
        | "\(.name) \(.version)\t\(.license // "see its notices")\t\(.manifest_path | rtrimstr("/Cargo.toml"))"'
}

declare -A licences sources
while IFS=$'\t' read -r crate licence source; do
    licences[$crate]=$licence
    sources[$crate]=$source
done < <(known)

cat <<END
What is linked into these programs beside the Rust standard library ($(rustc --version | cut -d' ' -f1,2); Copyright
The Rust Project Contributors, MIT or Apache-2.0), with its licence and the numbers of the notices below.

END
found=$(linked)
[ -n "$found" ] || { complain "notices: nothing is linked"; exit 1; }
count=0
while read -r crate; do
    # Ours have no source, and are told of in the file copyright.
    [ -n "${sources[$crate]:-}" ] || continue
    numbers=()
    for file in "${sources[$crate]}"/{LICEN[CS]E,COPYING,COPYRIGHT,NOTICE,UNLICENSE,licen[cs]e}*; do
        [ -f "$file" ] || continue
        # The same text stands here once, whoever has it.
        text=$texts/$(md5sum <"$file" | cut -d' ' -f1)
        if [ ! -e "$text" ]; then
            count=$((count + 1))
            echo "$count" >"$text"
            { printf '\n==== %d ====\n\n' "$count"; cat "$file"; echo; } >>"$texts/all"
        fi
        numbers+=("$(cat "$text")")
    done
    printf '%s: %s [%s]\n' "$crate" "${licences[$crate]}" "${numbers[*]}"
done <<<"$found"
cat "$texts/all"
