#!/bin/sh
# Starts a Valkey of compose.cluster.yaml. It follows the server that the Sentinels call the master; while they know none, that
# is valkey-1. ME is this server's name.
set -eu
master=valkey-1
for sentinel in sentinel-1 sentinel-2 sentinel-3; do
    found=$(timeout 2 valkey-cli -h "$sentinel" -p 26379 sentinel get-master-addr-by-name everpost 2>/dev/null | head -n 1) || found=
    if [ -n "$found" ]; then
        master=$found
        break
    fi
done
# The queue is written to disk every second, and no key is dropped to save memory.
set -- --appendonly yes --appendfsync everysec --save '' --maxmemory 1gb --maxmemory-policy noeviction \
    --replica-announce-ip "$ME" --repl-diskless-sync-delay 0
if [ "$master" != "$ME" ]; then
    set -- "$@" --replicaof "$master" 6379
fi
exec valkey-server "$@"
