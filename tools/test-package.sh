#!/usr/bin/env bash
# The Debian packages of target/debian on a clean root that debootstrap makes, under a systemd that is booted in a
# container with a network of its own: installed, used, upgraded in the middle of an upload, removed, installed
# again, purged. Says each step, and stops at the first that fails. `make package-test` builds the packages first.
#
# BASE_ROOT=FILE.tar keeps the clean root for the next time, or takes the one that is there.
# Where no container can be booted, or with BOOT=no, it does what can be done without (test-package-chroot.sh), and
# less for an ordinary user (test-package-unpacked.sh); it says what is skipped. With BOOT=yes it fails there.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

UPLOAD_BYTES=400000000
LEAF_BYTES=131072
DATA=/var/lib/berth
BOOT=${BOOT:-}
export BERTH_PASSWORD="correct horse"
# Of the commands in the container.
ENVIRONMENT=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
    DEBIAN_FRONTEND=noninteractive BERTH_PASSWORD="$BERTH_PASSWORD")

step() { printf '\n== %s\n' "$*"; }
fail() { complain "package-test: $*"; exit 1; }

! is_root || tools/packages.sh package-test
SERVER_PACKAGE=$(ls target/debian/berth-server_*.deb) || fail "make deb first"
CLIENT_PACKAGE=$(ls target/debian/berth-client_*.deb) || fail "make deb first"

WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/berth-package.XXXXXX")
CLEAN=$WORK/root
CONTAINER=
ENDING=TERM
INIT=
OWN_CGROUPS=()
# Only what this script has started. Its mounts are in a namespace of its own and go with it.
stop_container() {
    [ -n "$CONTAINER" ] || return 0
    kill -s "$ENDING" "$CONTAINER" 2>/dev/null || true
    ends_in 30 "$CONTAINER" || kill -KILL "$CONTAINER" 2>/dev/null || true
    wait "$CONTAINER" 2>/dev/null || true
    CONTAINER=
    INIT=
}
cleanup() {
    local code=$?
    trap - EXIT
    if [ "$code" -ne 0 ] && [ -n "$INIT" ]; then
        complain "--- the log of the service"
        inside journalctl --no-pager --lines=40 --unit=berthd.service --unit=berthd.socket >&2 || true
    fi
    stop_container
    for directory in ${OWN_CGROUPS[@]+"${OWN_CGROUPS[@]}"}; do
        find "$directory" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    rm -rf --one-file-system -- "$WORK"
    exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Waits until a command succeeds, for so many seconds at most.
wait_until() {
    local seconds=$1 what=$2 end=$((SECONDS + $1))
    shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || fail "waited ${seconds} s in vain: $what"
        sleep 0.05
    done
}
# The container's first process. Those that prepare it have come and gone by then.
first_process() { ps -o pid=,comm= --ppid "$CONTAINER" | awk -v name="$1" '$2 == name { print $1 }'; }
is_gone() { ! kill -0 "$1" 2>/dev/null; }
ends_in() {
    local end=$((SECONDS + $1))
    until is_gone "$2"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# Runs a command in the container, as root, with an environment of its own.
inside() {
    nsenter --target "$INIT" --mount --uts --ipc --net --pid --root --wd="/proc/$INIT/root" -- \
        env -i "${ENVIRONMENT[@]}" "$@"
}
shown() {
    printf '# %s\n' "$*"
    inside "$@"
}
expect() {
    local expected=$1 got
    shift
    got=$(inside "$@" 2>&1) || true
    [ "$got" = "$expected" ] || fail "$*: expected \"$expected\", got \"$got\""
    printf '%s: %s\n' "$*" "$got"
}
apt() { shown apt-get -qq -y -o Dpkg::Use-Pty=0 "$@" </dev/null; }
berth() { shown berth --accept-new -H alice@127.0.0.1 "$@"; }
is_installed() { [ "$(inside dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null)" = "ii " ]; }

pages() { dpkg-deb --contents "$1" | sed -n 's#.*/\([^/]*\)\.gz$#\1#p' | tr '\n' ' '; }
check_files() {
    expect "berth:x:/var/lib/berth:/usr/sbin/nologin" \
        sh -c 'getent passwd berth | cut -d: -f1,2,6,7'
    expect "700 berth berth" stat -c '%a %U %G' $DATA
    expect "750 root berth" stat -c '%a %U %G' /etc/berth
    expect "644 root root" stat -c '%a %U %G' /etc/berth/berthd.toml
    for file in /usr/sbin/berthd /usr/sbin/berthctl /usr/bin/berth /usr/libexec/berth/berth-worker \
        /usr/libexec/berth/berth-filer /usr/libexec/berth/berth-jail; do
        expect "755 root root" stat -c '%a %U %G' "$file"
    done
    expect "/etc/berth/berthd.toml" sh -c "dpkg-query -W -f '\${Conffiles}' berth-server | awk '{ print \$1 }'"
    expect "" dpkg --verify berth-server berth-client
    check_pages
}
# The clean root keeps no manual pages where its dpkg is told so; all of them are in the packages.
check_pages() {
    for page in berthd.8 berthctl.8 berthd.toml.5 THIRD-PARTY; do
        [[ " $(pages "$SERVER_PACKAGE")" = *" $page "* ]] || fail "$page is missing"
    done
    for page in berth.1 THIRD-PARTY; do
        [[ " $(pages "$CLIENT_PACKAGE")" = *" $page "* ]] || fail "$page is missing"
    done
}
nothing_is_left() {
    for path in $DATA /etc/berth /usr/libexec/berth /usr/share/doc/berth-server /usr/bin/berth \
        /lib/systemd/system/berthd.service /lib/systemd/system/berthd-announce.service; do
        inside test ! -e "$path" || fail "$path is left"
    done
    expect "rc= ii=" sh -c "printf 'rc=%s ii=%s\n' \"\$(dpkg -l 'berth*' 2>/dev/null | awk '/^rc/')\" \
        \"\$(dpkg -l 'berth*' 2>/dev/null | awk '/^ii/')\""
}
# The rest, where nothing can be booted.
without_booting() {
    say "nothing is booted: $1"
    [ "$BOOT" != yes ] || fail "BOOT=yes"
    . tools/test-package-chroot.sh
    exit 0
}

if ! is_root; then
    [ "$BOOT" != yes ] || fail "BOOT=yes: run it as root, which makes a root directory and boots it"
    . tools/test-package-unpacked.sh
    exit 0
fi

step "A clean root"
# The first Debian mirror that the machine's apt uses, whatever form its sources have.
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' |
    awk -v wanted="$codename" '$1 == wanted && $2 == "main" { print $3; exit }')
[ -n "$mirror" ] || fail "apt has no Debian mirror for $codename"
if [ -n "${BASE_ROOT:-}" ] && [ -f "$BASE_ROOT" ]; then
    mkdir "$CLEAN"
    tar -C "$CLEAN" --xattrs --numeric-owner -xf "$BASE_ROOT"
else
    began=$SECONDS
    debootstrap --variant=minbase --include=systemd,systemd-sysv,procps "$codename" "$CLEAN" "$mirror" \
        >"$WORK/debootstrap.log" 2>&1 || { tail -n 20 "$WORK/debootstrap.log" >&2; fail "debootstrap"; }
    say "made from apt's mirror for $codename in $((SECONDS - began)) s"
    [ -z "${BASE_ROOT:-}" ] || tar -C "$CLEAN" --xattrs --numeric-owner -cf "$BASE_ROOT" .
fi

# A second version, which differs in its number alone.
mkdir "$CLEAN/packages"
cp "$SERVER_PACKAGE" "$CLEAN/packages/server.deb"
cp "$CLIENT_PACKAGE" "$CLEAN/packages/client.deb"
dpkg-deb -R "$SERVER_PACKAGE" "$WORK/next"
version=$(dpkg-deb --field "$SERVER_PACKAGE" Version)
sed -i "s/^Version: .*/Version: $version.1/" "$WORK/next/DEBIAN/control"
dpkg-deb --root-owner-group --build "$WORK/next" "$CLEAN/packages/server-next.deb" >/dev/null

[ "$BOOT" != no ] || without_booting "BOOT=no"
tools/packages.sh package-boot || without_booting "there is no systemd-nspawn"

step "Booting it"
for directory in /sys/fs/cgroup/{,unified/,systemd/}{payload,supervisor}; do
    [ -d "$directory" ] || OWN_CGROUPS+=("$directory")
done
# Its own filter of system calls is older than Landlock in Debian 12.
systemd-nspawn --quiet --boot --directory="$CLEAN" --register=no --keep-unit --private-network \
    --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" \
    --machine=berth-package-test --console=pipe </dev/null >"$WORK/boot.log" 2>&1 &
CONTAINER=$!
is_booted() {
    INIT=$(first_process systemd) && [ -n "$INIT" ] &&
        [ "$(inside systemctl is-system-running 2>/dev/null)" = running ]
}
boots() {
    local end=$((SECONDS + 120))
    until is_booted; do
        ! is_gone "$CONTAINER" && [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}
if ! boots; then
    tail -n 20 "$WORK/boot.log" >&2
    stop_container
    without_booting "systemd-nspawn cannot boot it"
fi
expect running systemctl is-system-running

step "Installing: the service is enabled and runs, and the port is systemd's"
apt install --no-install-recommends /packages/server.deb /packages/client.deb
is_installed berth-server && is_installed berth-client || fail "the packages are not installed"
expect enabled systemctl is-enabled berthd.service
expect enabled systemctl is-enabled berthd.socket
expect disabled systemctl is-enabled berthd-announce.service
expect inactive systemctl is-active berthd-announce.service
expect active systemctl is-active berthd.service
expect active systemctl is-active berthd.socket
expect running systemctl is-system-running

step "Its files, modes and user"
check_files
main=$(inside systemctl show --property=MainPID --value berthd.service)
expect berth stat -c %U "/proc/$main"
expect "CapEff:	0000000000000000" grep CapEff "/proc/$main/status"
helpers=$(inside ps -o user=,args= --ppid "$main")
grep -q 'berth  *berth-worker' <<<"$helpers" || fail "no worker of the user berth: $helpers"
say "$helpers"

step "Using it"
shown berthctl user add alice --quota 1GiB
inside sh -c "mkdir /root/w && cd /root/w && printf 'hello\n' >small && head -c $UPLOAD_BYTES /dev/urandom >large"
berth put /root/w/small
expect "b1946ac92492d2347c6235b4d2611184  small" berth -H alice@127.0.0.1 md5 small
shown berthctl status

step "A client that comes while the service is stopped waits, and starts it"
shown systemctl stop berthd.service
expect active systemctl is-active berthd.socket
berth ls
expect active systemctl is-active berthd.service

step "The configuration is the administrator's"
inside sed -i 's/^shutdown_grace_seconds = .*/shutdown_grace_seconds = 1/' /etc/berth/berthd.toml
shown berthd check --config /etc/berth/berthd.toml
shown systemctl restart berthd.service

step "Upgrading in the middle of an upload"
ledger_before=$(inside stat -c %i $DATA/ledger.sqlite)
inside berth --accept-new -H alice@127.0.0.1 put /root/w/large >"$WORK/put.log" 2>&1 &
PUT=$!
HALF=$((UPLOAD_BYTES / 2 / LEAF_BYTES * 16))
is_half_way() {
    local size
    size=$(cat "$CLEAN"$DATA/users/alice/staging/*.journal 2>/dev/null | wc -c)
    [ "$size" -ge "$HALF" ] || is_gone "$PUT"
}
# The client stands still over the upgrade, so that the upload cannot end before it.
client_of_put() { inside ps -C berth -o pid= | tr -d ' '; }
wait_until 60 "half of the upload" is_half_way
client=$(client_of_put)
[ -n "$client" ] || { cat "$WORK/put.log"; fail "the upload ended too early"; }
inside kill -STOP "$client"
apt install /packages/server-next.deb
expect "$version.1" dpkg-query -W -f '${Version}' berth-server
expect active systemctl is-active berthd.service
expect active systemctl is-active berthd.socket
[ "$(inside systemctl show --property=MainPID --value berthd.service)" != "$main" ] || fail "not restarted"
expect "$ledger_before" stat -c %i $DATA/ledger.sqlite
expect "shutdown_grace_seconds = 1" grep ^shutdown_grace /etc/berth/berthd.toml
shown berthctl user list
inside kill -CONT "$client"
# nsenter has stopped with it.
ps -o pid= --ppid "$PUT" | xargs --no-run-if-empty kill -CONT
code=0
wait "$PUT" || code=$?
say "the client that was interrupted: exit code $code; $(tail -n 2 "$WORK/put.log")"
berth uploads
if [ "$code" -ne 0 ]; then
    # What the server has of it is gone on with.
    berth --json put /root/w/large | tee "$WORK/again.log"
    grep -q '"resumed_leaves":[1-9]' "$WORK/again.log" || fail "the upload began anew"
fi
expect "$(inside md5sum /root/w/large | cut -d' ' -f1)  large" berth -H alice@127.0.0.1 md5 large
shown berthctl quota verify

step "Removing: configuration and data are kept"
apt remove berth-server
inside test ! -e /usr/sbin/berthd || fail "the program is left"
inside test -e $DATA/ledger.sqlite || fail "the ledger is gone"
inside test -e $DATA/users/alice/home/large || fail "a file is gone"
inside test -e /etc/berth/berthd.toml || fail "the configuration is gone"
expect inactive systemctl is-active berthd.socket
expect inactive systemctl is-active berthd.service

step "Installing again where the policy starts no services: it does not run until it is told to"
inside sh -c 'printf "#!/bin/sh\nexit 101\n" >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d'
apt install /packages/server-next.deb
expect inactive systemctl is-active berthd.service
expect inactive systemctl is-active berthd.socket
expect enabled systemctl is-enabled berthd.service
inside rm /usr/sbin/policy-rc.d
shown systemctl start berthd.service
expect "b1946ac92492d2347c6235b4d2611184  small" berth -H alice@127.0.0.1 md5 small

step "Purging with a user's files: they are kept, and it says so"
apt purge berth-server 2>&1 | tee "$WORK/purge.log"
grep -q 'users have homes in it' "$WORK/purge.log" || fail "it did not say that files are kept"
inside test -e $DATA/users/alice/home/large || fail "a file is gone"
inside test -e $DATA/ledger.sqlite || fail "the ledger is gone"
inside test ! -e /etc/berth || fail "the configuration is left"
expect "" sh -c 'ls /etc/systemd/system/*.wants | grep berth'

step "Installing again: the files are served"
apt install /packages/server.deb
expect "b1946ac92492d2347c6235b4d2611184  small" berth -H alice@127.0.0.1 md5 small

step "Purging without users: nothing is left"
shown berthctl user remove --yes alice
apt purge berth-server berth-client
nothing_is_left
expect running systemctl is-system-running

step "All of it worked, in $SECONDS s; cleaning up"
