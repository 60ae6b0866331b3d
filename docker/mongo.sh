#!/usr/bin/env bash
# Starts mongod as a replica set of one node with authentication, and sets it up while it runs.
# It runs in the image `mongo` as the user mongodb. Every step first checks what is already there, so
# the script may be interrupted at any point and started again.
set -euo pipefail

here=$(dirname "$0")

# Members of a replica set authenticate each other by this key. This set has only one member, so the
# key is generated at every start and never leaves the container.
keyfile=/tmp/keyfile
rm -f "$keyfile"
(umask 377 && head -c 756 /dev/urandom | base64 --wrap=0 > "$keyfile")

# The password of `root`, the user who creates the server's user. It is stored next to the data that
# it protects: anyone who can read one can read the other. It is moved into place, so it is never
# incomplete.
root_password=/data/db/.root-password
if [ ! -s "$root_password" ]; then
    (umask 177 && head -c 33 /dev/urandom | base64 --wrap=0 > "$root_password.new")
    mv "$root_password.new" "$root_password"
fi

# mongod replaces this shell, so that it gets Docker's signals. The set-up runs in the background; if
# it fails, it stops mongod, and with it the container.
rm -f /tmp/ready
(
    if HOME=/tmp mongosh --quiet --norc --nodb "$here/mongo-setup.js"; then
        touch /tmp/ready
    else
        echo 'MongoDB could not be set up; the lines above say why.' >&2
        kill -TERM $$
    fi
) &

unset MONGO_USER MONGO_PASSWORD
# Every organization is a file. Files stay open until they are 85 % of those that may be open; beyond
# that, files that were idle for a second are closed, because mongod aborts when it runs out of file
# handles. WiredTiger counts two handles per file.
files=$(ulimit -Hn)
[ "$files" != unlimited ] || files=1048576
ulimit -Sn "$files"
engine="file_manager=(close_handle_minimum=$((files / 100 * 85 * 2)),close_idle_time=1,close_scan_interval=1)"
exec mongod --dbpath /data/db --replSet rs0 --keyFile "$keyfile" --bind_ip_all \
    --setParameter transactionLifetimeLimitSeconds=20 \
    --wiredTigerEngineConfigString "$engine" \
    --wiredTigerCacheSizeGB "${MONGO_CACHE_GB:-0.5}" --quiet
