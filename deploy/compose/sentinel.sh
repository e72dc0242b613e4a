#!/bin/sh
# Starts a Sentinel of compose.cluster.yaml. It keeps what it learns in its configuration, in a volume. ME is its name.
set -eu
if [ ! -s /data/sentinel.conf ]; then
    cat >/data/sentinel.conf <<END
port 26379
dir /data
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $ME
sentinel monitor everpost valkey-1 6379 2
sentinel down-after-milliseconds everpost 3000
sentinel failover-timeout everpost 10000
sentinel parallel-syncs everpost 1
END
fi
exec valkey-sentinel /data/sentinel.conf
