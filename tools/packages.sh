#!/usr/bin/env bash
# Makes sure that the machine has what a step needs: `packages.sh build`, `test`, `fuzz`, `deb`,
# `package-test`, `package-boot` or `bench`.
# As root it installs missing Debian packages; as anybody else it says what to install.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"

# What each step runs, and the Debian package that has it.
NEEDED="cc:gcc libc-headers:libc6-dev"
case ${1:-build} in
    test) NEEDED="$NEEDED setpriv:util-linux strace:strace ip:iproute2 systemd-analyze:systemd" ;;
    # libFuzzer is C++.
    fuzz) NEEDED="$NEEDED c++:g++" ;;
    deb) NEEDED="$NEEDED dh:debhelper man:man-db jq:jq" ;;
    package-test) NEEDED="debootstrap:debootstrap dpkg-deb:dpkg ps:procps unshare:util-linux" ;;
    package-boot) NEEDED="systemd-nspawn:systemd-container" ;;
    bench)
        NEEDED="$NEEDED setpriv:util-linux openssl:openssl curl:curl lftp:lftp sftp:openssh-client"
        NEEDED="$NEEDED sshd:openssh-server vsftpd:vsftpd rsync:rsync nginx:nginx"
        # Where an ordinary user's PATH does not look.
        PATH=$PATH:/usr/sbin:/sbin
        ;;
esac

has() {
    case $1 in
        # The bundled SQLite and ring are C: a compiler without its library's headers is not enough.
        libc-headers) printf '#include <stdio.h>\nint main(void){return 0;}\n' |
            cc -x c -o /dev/null - 2>/dev/null ;;
        # Only root needs these three: to become an ordinary user, to trace, and to lay a cable between networks.
        setpriv | strace | ip) ! is_root || command -v "$1" >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

if ! command -v cargo >/dev/null; then
    complain "cargo is missing: install a Rust toolchain (rust-version in Cargo.toml), see https://rustup.rs"
    exit 1
fi

missing=()
for need in $NEEDED; do
    has "${need%%:*}" || missing+=("${need##*:}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! is_root || ! command -v apt-get >/dev/null; then
    complain "these packages are missing: ${missing[*]}"
    complain "on Debian or Ubuntu: sudo apt-get install --no-install-recommends ${missing[*]}"
    exit 1
fi
say "installing ${missing[*]}"
policy=/usr/sbin/policy-rc.d
if [ "${1:-build}" = bench ] && [ ! -e "$policy" ]; then
    # Their servers are wanted as programs: none is to start as a service of this machine.
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
if [ "${1:-build}" = bench ] && command -v systemctl >/dev/null; then
    # Nor at the next boot.
    for package in "${missing[@]}"; do
        case $package in
            openssh-server) systemctl disable --quiet ssh ;;
            vsftpd | nginx | rsync) systemctl disable --quiet "$package" ;;
        esac
    done
fi
