#!/usr/bin/env bash
# Sourced by test-package.sh for an ordinary user, who can make no root: the packages are unpacked, and used from
# where they lie.
set -euo pipefail

step "Unpacking them: an ordinary user can install nothing"
dpkg-deb -x "$SERVER_PACKAGE" "$CLEAN"
dpkg-deb -x "$CLIENT_PACKAGE" "$CLEAN"
for file in usr/sbin/berthd usr/sbin/berthctl usr/bin/berth usr/libexec/berth/berth-{worker,filer,jail}; do
    [ "$(stat -c %a "$CLEAN/$file")" = 755 ] || fail "$file is missing, or has other modes"
done
[ "$(dpkg-deb --info "$SERVER_PACKAGE" conffiles)" = /etc/berth/berthd.toml ] || fail "other conffiles"
check_pages

step "Its units, and the user and directories that they need"
for unit in berthd.service berthd-announce.service berthd.socket; do
    cmp "systemd/$unit" "$CLEAN/lib/systemd/system/$unit"
done
for kind in sysusers.d tmpfiles.d; do
    cmp "systemd/$kind/berth.conf" "$CLEAN/usr/lib/$kind/berth.conf"
done
tools/check-units.sh

step "Its configuration"
sed "s#^\(data_dir\) = .*#\1 = \"$WORK/data\"#" "$CLEAN/etc/berth/berthd.toml" >"$WORK/berthd.toml"
"$CLEAN/usr/sbin/berthd" check --config "$WORK/berthd.toml"

step "berthd by hand"
"$CLEAN/usr/sbin/berthd" --config "$WORK/berthd.toml" --data-dir "$WORK/data" --listen 127.0.0.1:0 \
    --libexec-dir "$CLEAN/usr/libexec/berth" >"$WORK/berthd.out" 2>"$WORK/berthd.log" &
CONTAINER=$!
is_listening() {
    ! is_gone "$CONTAINER" || { tail -n 20 "$WORK/berthd.log" >&2; fail "berthd has ended"; }
    grep -q '^berthd: listening on' "$WORK/berthd.out"
}
wait_until 60 "berthd listens" is_listening
port=$(sed -n 's/^berthd: listening on .*://p' "$WORK/berthd.out")
berth() {
    env -i HOME="$WORK" BERTH_PASSWORD="$BERTH_PASSWORD" \
        "$CLEAN/usr/bin/berth" --accept-new -H "alice@127.0.0.1:$port" "$@"
}
"$CLEAN/usr/sbin/berthctl" --data-dir "$WORK/data" user add alice --quota 1GiB
printf 'hello\n' >"$WORK/small"
berth put "$WORK/small"
[ "$(berth md5 small)" = "b1946ac92492d2347c6235b4d2611184  small" ] || fail "another file came back"
kill "$CONTAINER"
wait "$CONTAINER" || fail "berthd ended with $?"
CONTAINER=

step "What could be tried by an ordinary user worked, in $SECONDS s. SKIPPED:"
printf '  %s\n' "installation, upgrade, removal and purge by dpkg" "the service manager and all that it starts" \
    "the service's own user"
