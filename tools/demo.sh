#!/usr/bin/env bash
# Berth at work: a real server on loopback with two users, and a large file that is put, killed half
# way, resumed, got back and compared. Everything is in one temporary directory, removed at the end.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

ARCHIVE_BYTES=300000000
LEAF_BYTES=131072
JOURNAL_HEADER_BYTES=192
OVER_QUOTA=6

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() { complain "demo: $*"; exit 1; }

# Waits until a command succeeds, for a minute at most.
wait_until() {
    local what=$1 tries=6000
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "waited a minute in vain: $what"
        sleep 0.01
    done
}

DEMO=$(mktemp -d "${TMPDIR:-/tmp}/berth-demo.XXXXXX")
SERVER=
CLIENT=
cleanup() {
    local code=$?
    trap - EXIT
    # Only what this script has started, by pid. The server's workers end with it.
    for pid in $CLIENT $SERVER; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    if [ "$code" -ne 0 ] && [ -s "$DEMO/server.log" ]; then
        complain "--- the server's log"
        tail -n 40 "$DEMO/server.log" >&2
    fi
    rm -rf -- "$DEMO"
    exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

step "Building Berth"
tools/packages.sh build
cargo build --release --workspace --bins --exclude berth-puppets --exclude berth-bench

# Root's own target directory may be closed to the ordinary user.
BIN=$DEMO/bin
chmod 755 "$DEMO"
mkdir "$BIN" "$DEMO/alice" "$DEMO/bob"
for program in berthd berth-worker berth-filer berth-jail berth berthctl; do
    install -m 755 "${CARGO_TARGET_DIR:-target}/release/$program" "$BIN/"
done

step "Making an archive of this machine's programs, at most $((ARCHIVE_BYTES / 1000000)) MB"
(
    cd /
    find usr/bin usr/lib -type f -readable -printf '%s %p\n' 2>/dev/null |
        awk -v most="$ARCHIVE_BYTES" '{
            size = $1; sub(/^[0-9]+ /, "");
            if (total + size <= most) { total += size; print }
        }' |
        tar -cf "$DEMO/alice/archive.tar" --verbatim-files-from -T -
)
ARCHIVE=$(stat -c %s "$DEMO/alice/archive.tar")
ls -l "$DEMO/alice/archive.tar"
cp "$DEMO/alice/archive.tar" "$DEMO/bob/"
give "$DEMO"

step "Starting berthd on a port of its own choice$(is_root && echo ", as uid $ORDINARY_ID")"
"${AS_USER[@]}" "$BIN/berthd" --data-dir "$DEMO/data" --listen 127.0.0.1:0 \
    >"$DEMO/server.out" 2>"$DEMO/server.log" &
SERVER=$!
says() { grep -q "^berthd: $1 " "$DEMO/server.out"; }
is_up() { { says "listening on" && says certificate; } || ! kill -0 "$SERVER" 2>/dev/null; }
wait_until "berthd listens" is_up
cat "$DEMO/server.out"
ADDRESS=$(sed -n 's/^berthd: listening on //p' "$DEMO/server.out")
FINGERPRINT=$(sed -n 's/^berthd: certificate //p' "$DEMO/server.out")
if [ -z "$ADDRESS" ] || [ -z "$FINGERPRINT" ]; then
    fail "berthd did not start"
fi

berthctl() {
    printf '$ berthctl %s\n' "$*"
    "${AS_USER[@]}" BERTH_DATA_DIR="$DEMO/data" BERTH_PASSWORD="correct horse" "$BIN/berthctl" "$@"
}

# Sets COMMAND to what runs `berth` as one of the two.
client() {
    local user=$1
    COMMAND=(
        "${AS_USER[@]}" --chdir="$DEMO/$user" HOME="$DEMO/$user"
        XDG_CONFIG_HOME="$DEMO/$user/.config" XDG_STATE_HOME="$DEMO/$user/.state"
        BERTH_PASSWORD="correct horse"
        "$BIN/berth" -H "$user@$ADDRESS" --fingerprint "$FINGERPRINT"
    )
}
berth() {
    local user=$1
    shift
    printf '%s$ berth %s\n' "$user" "$*"
    client "$user"
    "${COMMAND[@]}" "$@"
}

step "Making two users with different quotas"
berthctl user add alice --quota 2GiB --entries 1000
berthctl user add bob --quota 10MiB
berthctl user list

step "Alice puts the archive, and her client is killed half way"
printf 'alice$ berth put archive.tar\n'
client alice
"${COMMAND[@]}" put archive.tar &
CLIENT=$!
# The journal has 16 bytes for each leaf. Looked for a little early, since it is seen a little late.
# shellcheck disable=SC2017  # whole leaves are meant
HALF=$((ARCHIVE * 2 / 5 / LEAF_BYTES * 16 + JOURNAL_HEADER_BYTES))
is_half_way() {
    local journal size
    for journal in "$DEMO"/data/users/alice/staging/*.journal; do
        size=$(stat -c %s "$journal" 2>/dev/null || echo 0)
        [ "$size" -lt "$HALF" ] || return 0
    done
    ! kill -0 "$CLIENT" 2>/dev/null
}
wait_until "the upload is half done" is_half_way
kill -KILL "$CLIENT" 2>/dev/null || fail "the upload ended before it could be killed"
wait "$CLIENT" 2>/dev/null || true
CLIENT=
say "killed"
berth alice uploads

step "The same command goes on where it stopped"
berth alice put archive.tar

step "The file comes back, and is the same"
berth alice get archive.tar --to back.tar
(cd "$DEMO/alice" && md5sum archive.tar back.tar)
berth alice md5 archive.tar
cmp "$DEMO/alice/archive.tar" "$DEMO/alice/back.tar" || fail "the file that came back differs"

step "What Alice has, and how much room"
berth alice mkdir photos
berth alice ls -l
berth alice df

step "Bob has a quota of 10 MiB: refused before a byte is sent, with the numbers"
code=0
berth bob put archive.tar || code=$?
[ "$code" -eq "$OVER_QUOTA" ] || fail "expected the exit code $OVER_QUOTA, got $code"
say "exit code $code"
berth bob df

step "What the administrator sees"
berthctl user list
berthctl status

step "All of it worked; cleaning up"
