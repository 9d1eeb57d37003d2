#!/usr/bin/env bash
# Sourced by test-package.sh where nothing can be booted: the packages in the clean root without a service manager.
# What they install is held to the same, and berthd is run by hand as the service's user.
set -euo pipefail

SKIPPED=("what the package tells the service manager to start, restart and stop" "a client that wakes the service"
    "the port that stays open over an upgrade" "what the service's sandbox allows")

step "A root without a service manager"
# Names, processes and mounts of its own, where that is allowed.
unshare --mount --pid --ipc --uts --fork --kill-child=KILL -- sh -ec '
    mount -t proc proc "$1/proc"
    mount --rbind /dev "$1/dev"
    exec chroot "$1" sleep infinity' sh "$CLEAN" &
CONTAINER=$!
# Its first process hears no other signal, and nor does unshare, with which it goes.
ENDING=KILL
has_init() {
    is_gone "$CONTAINER" || { INIT=$(first_process sleep) && [ -n "$INIT" ]; }
}
wait_until 30 "the root has a first process" has_init
if [ -z "$INIT" ]; then
    inside() { chroot "$CLEAN" env -i "${ENVIRONMENT[@]}" "$@"; }
    SKIPPED+=("berthd by hand: nothing can be mounted here, so that there is no /proc")
fi
can_run() { [ -n "$INIT" ]; }

# As the unit does, but for the port, which is any free one: the network is the machine's.
start_berthd() {
    : >"$WORK/berthd.out"
    inside setpriv --reuid=berth --regid=berth --clear-groups --no-new-privs berthd \
        --config /etc/berth/berthd.toml --listen 127.0.0.1:0 --libexec-dir /usr/libexec/berth \
        >"$WORK/berthd.out" 2>"$WORK/berthd.log" &
    BERTHD=$!
    wait_until 60 "berthd listens" is_listening
    PORT=$(sed -n 's/^berthd: listening on .*://p' "$WORK/berthd.out")
}
is_listening() {
    ! is_gone "$BERTHD" || { tail -n 20 "$WORK/berthd.log" >&2; fail "berthd has ended"; }
    grep -q '^berthd: listening on' "$WORK/berthd.out"
}
stop_berthd() {
    # From within, where it has another number: nsenter hands no signal on.
    inside kill -TERM "$(inside ps -C berthd -o pid= | tr -d ' ')"
    local code=0
    wait "$BERTHD" || code=$?
    [ "$code" -eq 0 ] || { tail -n 20 "$WORK/berthd.log" >&2; fail "berthd ended with $code"; }
}
berth() { shown berth --accept-new -H "alice@127.0.0.1:$PORT" "$@"; }
has_small() {
    # It gets to know the server at this port.
    berth ls
    expect "b1946ac92492d2347c6235b4d2611184  small" berth -H "alice@127.0.0.1:$PORT" md5 small
}

step "Installing"
apt install --no-install-recommends /packages/server.deb /packages/client.deb
is_installed berth-server && is_installed berth-client || fail "the packages are not installed"
expect enabled systemctl is-enabled berthd.service
expect disabled systemctl is-enabled berthd-announce.service
expect enabled systemctl is-enabled berthd.socket

step "Its files, modes and user"
check_files

step "Its units, by the systemd of that root"
expect "" systemd-analyze verify --man=no --recursive-errors=no berthd.service berthd-announce.service berthd.socket
inside systemd-analyze security --offline=true --threshold=10 /lib/systemd/system/berthd.service >"$WORK/security" ||
    fail "the exposure of berthd.service is above 1.0"
sed -n 's/^→ //p' "$WORK/security"

if can_run; then
    step "Its configuration"
    shown berthd check --config /etc/berth/berthd.toml

    step "berthd by hand, as the service's user"
    start_berthd
    shown berthctl user add alice --quota 1GiB
    inside sh -c "mkdir /root/w && printf 'hello\n' >/root/w/small"
    berth put /root/w/small
    has_small
    shown berthctl status
fi

step "Upgrading under a running berthd, which goes on with the helpers of its start"
apt install /packages/server-next.deb
expect "$version.1" dpkg-query -W -f '${Version}' berth-server
if can_run; then
    berth ls
    stop_berthd
    start_berthd
    has_small
    stop_berthd
else
    # What a user's home would be.
    inside install -d -o berth -g berth -m 700 $DATA/users $DATA/users/alice
fi

step "Removing: configuration and data are kept"
apt remove berth-server
inside test ! -e /usr/sbin/berthd || fail "the program is left"
inside test -e $DATA/users/alice || fail "a home is gone"
inside test -e /etc/berth/berthd.toml || fail "the configuration is gone"

step "Purging with a user's files: they are kept, and it says so"
apt install /packages/server-next.deb
apt purge berth-server 2>&1 | tee "$WORK/purge.log"
grep -q 'users have homes in it' "$WORK/purge.log" || fail "it did not say that files are kept"
inside test -e $DATA/users/alice || fail "a home is gone"
inside test ! -e /etc/berth || fail "the configuration is left"

step "Installing again, and purging without users: nothing is left"
apt install /packages/server.deb
if can_run; then
    start_berthd
    has_small
    shown berthctl user remove --yes alice
    stop_berthd
else
    inside rmdir $DATA/users/alice
fi
apt purge berth-server berth-client
nothing_is_left

step "What could be tried without a service manager worked, in $SECONDS s. SKIPPED:"
printf '  %s\n' "${SKIPPED[@]}"
