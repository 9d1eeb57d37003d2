#!/usr/bin/env bash
# Holds the units to what is claimed of them: `systemd-analyze verify` says nothing, the exposure is at most
# 1.0 (of the announcer, which needs the network, 1.2), and the user and the directories are made as the units expect them.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

# Of 10.0, as `systemd-analyze security` counts; in tenths.
declare -A MOST_EXPOSURE=([berthd]=10 [berthd-announce]=12)

if ! command -v systemd-analyze >/dev/null; then
    complain "systemd-analyze is missing: it is in the Debian package systemd"
    exit 1
fi

# A system of its own: with our units, what they start, and the targets that the machine's systemd brings.
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{etc/berth,etc/systemd/system,usr/sbin,usr/libexec/berth,usr/bin,var/lib}
mkdir -p "$root"/usr/lib/{systemd,sysusers.d,tmpfiles.d}
ln -s usr/bin "$root/bin"
cp -r /lib/systemd/system "$root/usr/lib/systemd/system"
cp systemd/berthd{,-announce}.service systemd/berthd.socket "$root/etc/systemd/system/"
cp systemd/sysusers.d/berth.conf "$root/usr/lib/sysusers.d/"
cp systemd/tmpfiles.d/berth.conf "$root/usr/lib/tmpfiles.d/"
for program in usr/sbin/berthd usr/bin/kill; do
    install -m 755 /dev/null "$root/$program"
done

verify() {
    local said
    # It warns with the exit code 0 as well.
    said=$(systemd-analyze verify --man=no --recursive-errors=no --root="$root" \
        berthd.service berthd-announce.service berthd.socket 2>&1) || said="$said (exit code $?)"
    [ -z "$said" ] || { complain "systemd-analyze verify: $said"; exit 1; }
}
verify
# With the drop-in of a site that allows programs, too.
install -D -m 644 systemd/berthd-exec.conf "$root/etc/systemd/system/berthd.service.d/exec.conf"
verify

exposures=
for unit in "${!MOST_EXPOSURE[@]}"; do
    if ! systemd-analyze security --offline=true --threshold="${MOST_EXPOSURE[$unit]}" \
        "systemd/$unit.service" >"$root/security"; then
        grep -v '^✓' "$root/security" >&2
        complain "the exposure of $unit.service is above ${MOST_EXPOSURE[$unit]} tenths"
        exit 1
    fi
    exposures="$exposures; $(sed -n 's/^→ //p' "$root/security")"
done

systemd-sysusers --root="$root"
grep -q '^berth:x:[0-9]*:[0-9]*:[^:]*:/var/lib/berth:/usr/sbin/nologin$' "$root/etc/passwd" ||
    { complain "sysusers.d makes no user berth"; exit 1; }
# Only root may give directories away.
if is_root; then
    systemd-tmpfiles --root="$root" --create berth.conf
    uid=$(sed -n 's/^berth:x:\([0-9]*\):.*/\1/p' "$root/etc/passwd")
    [ "$(stat -c '%a %u' "$root/var/lib/berth")" = "700 $uid" ] &&
        [ "$(stat -c '%a %u' "$root/etc/berth")" = "750 0" ] ||
        { complain "tmpfiles.d makes other directories than the units expect"; exit 1; }
fi
say "units: verified$exposures"
