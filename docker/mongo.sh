#!/usr/bin/env bash
# Starts mongod as a replica set of one node with authentication, and sets it up beside it.
# It runs in the image `mongo` as the user mongodb. Every step looks first at what is there already,
# so it may be interrupted at any point and started again.
set -euo pipefail

here=$(dirname "$0")

# Members of a replica set know each other by this key. This set has one, so the key is made anew at
# every start and never leaves the container.
keyfile=/tmp/keyfile
rm -f "$keyfile"
(umask 377 && head -c 756 /dev/urandom | base64 --wrap=0 > "$keyfile")

# The password of `root`, the user who makes the server's user. It lies beside the data that it
# protects: who can read the one can read the other. It is moved into place, so it is never half.
root_password=/data/db/.root-password
if [ ! -s "$root_password" ]; then
    (umask 177 && head -c 33 /dev/urandom | base64 --wrap=0 > "$root_password.new")
    mv "$root_password.new" "$root_password"
fi

# mongod takes the place of this shell, so that it gets Docker's signals. The set-up goes on beside
# it; when it fails, it stops mongod, and with it the container.
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
# Every organization is a file. They stay open until they are 85 % of those that may be open, of which
# WiredTiger counts two handles each; past that, what has lain idle for a second is closed: mongod aborts when it runs out of file handles.
files=$(ulimit -Hn)
[ "$files" != unlimited ] || files=1048576
ulimit -Sn "$files"
engine="file_manager=(close_handle_minimum=$((files / 100 * 85 * 2)),close_idle_time=1,close_scan_interval=1)"
exec mongod --dbpath /data/db --replSet rs0 --keyFile "$keyfile" --bind_ip_all \
    --setParameter transactionLifetimeLimitSeconds=20 \
    --wiredTigerEngineConfigString "$engine" \
    --wiredTigerCacheSizeGB "${MONGO_CACHE_GB:-0.5}" --quiet
