#!/usr/bin/env bash
# Compares a verified get of a cached 1 GiB file with what curl gets from vsftpd over FTPS (TLS 1.3).
# Runs are interleaved; medians and their ratio are printed. Needs root (to start vsftpd and to drop to a plain user
# for berthd), vsftpd, curl and openssl. Everything listens on 127.0.0.1 and ends with the script.
#
# usage: tools/bench-get.sh [RUNS]        default 7; builds the release binaries first
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-7}
[ "$(id -u)" = 0 ] || { echo "bench-get: needs root, to start vsftpd" >&2; exit 1; }
for tool in vsftpd curl openssl setpriv; do
    command -v "$tool" >/dev/null || { echo "bench-get: $tool is missing: apt-get install vsftpd curl openssl util-linux" >&2; exit 1; }
done
cargo build --release --quiet

uid=64123
dir=$(mktemp -d)
chmod 755 "$dir"
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap finish EXIT
# Each of these words executes the next one in its own place, so that a background job's pid is the program's own.
as_user=(setpriv --reuid=$uid --regid=$uid --clear-groups env -i HOME="$dir/user" PATH="$PATH" BERTH_PASSWORD=secret)

mkdir "$dir/bin" "$dir/user" "$dir/ftp" "$dir/empty"
cp target/release/{berthd,berth-worker,berth-filer,berth,berthctl} "$dir/bin/"
openssl rand 1048576 >"$dir/seed"
for _ in $(seq 1024); do cat "$dir/seed"; done >"$dir/ftp/file"
chown -R $uid:$uid "$dir/user"
chmod 755 "$dir/ftp"; chmod 644 "$dir/ftp/file"

# vsftpd: anonymous login over TLS 1.3 only, its fastest way to send.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -keyout "$dir/ftp.pem" -out "$dir/ftp.crt" 2>/dev/null
cat "$dir/ftp.crt" >>"$dir/ftp.pem"
cat >"$dir/vsftpd.conf" <<CONF
listen=YES
listen_address=127.0.0.1
listen_port=42121
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root=$dir/ftp
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
require_ssl_reuse=NO
ssl_ciphers=HIGH
rsa_cert_file=$dir/ftp.pem
secure_chroot_dir=$dir/empty
pasv_min_port=42200
pasv_max_port=42300
seccomp_sandbox=NO
CONF
vsftpd "$dir/vsftpd.conf" & pids+=($!)

"${as_user[@]}" "$dir/bin/berthd" --data-dir "$dir/user/data" --listen 127.0.0.1:0 >"$dir/berthd.out" 2>"$dir/berthd.err" & pids+=($!)
for _ in $(seq 200); do grep -q 'listening on' "$dir/berthd.out" && break; sleep 0.1; done
addr=$(sed -n 's/^berthd: listening on //p' "$dir/berthd.out" | head -1)
print=$(sed -n 's/^berthd: certificate SHA256://p' "$dir/berthd.out")
"${as_user[@]}" "$dir/bin/berthctl" --data-dir "$dir/user/data" user add bench >/dev/null
berth() { "${as_user[@]}" "$dir/bin/berth" -q -H "bench@$addr" --fingerprint "$print" "$@"; }
cp "$dir/ftp/file" "$dir/user/file"; chown $uid:$uid "$dir/user/file"
berth put "$dir/user/file"

timed() { # prints seconds
    local begin end
    begin=$(date +%s.%N); "$@" >/dev/null; end=$(date +%s.%N)
    awk -v a="$begin" -v b="$end" 'BEGIN { printf "%.3f\n", b - a }'
}
# Both write to a tmpfs file, so that neither pays for the disk.
out=$(mktemp -d -p /dev/shm); chown $uid:$uid "$out"; trap 'rm -rf "$out"; finish' EXIT
ftps() { curl -sS --ssl-reqd -k --tlsv1.3 -o "$out/ftp" ftp://127.0.0.1:42121/file; }
get() { berth get -f /file --to "$out/berth"; }
ftps; get # warm up
cmp "$out/ftp" "$out/berth"
: >"$dir/ftps"; : >"$dir/berth"
for _ in $(seq "$runs"); do
    # Each finds the same free memory: what the other has written is gone.
    rm -f "$out"/*
    timed ftps >>"$dir/ftps"
    rm -f "$out"/*
    timed get >>"$dir/berth"
done
median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
echo "seconds, FTPS and berth by turns:"
paste "$dir/ftps" "$dir/berth"
f=$(median "$dir/ftps"); b=$(median "$dir/berth")
awk -v f="$f" -v b="$b" -v n="$runs" 'BEGIN {
    printf "1 GiB, medians of %d interleaved runs: FTPS (curl, vsftpd) %.2f s, berth get %.2f s\n", n, f, b
    printf "berth reaches %.2f x the rate of FTPS\n", f / b
}'
