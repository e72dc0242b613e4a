#!/bin/sh
# Starts a PostgreSQL of compose.cluster.yaml: as the standby of the other server if that one is a primary, else as it was when
# it stopped. OTHER is the other server's name. FIRST=yes lets this server make a new database.
set -eu
PGPASSWORD=$(cat /run/secrets/postgres)
export PGPASSWORD PGCONNECT_TIMEOUT=2

other_is_primary() {
    answer=$(psql --host "$OTHER" --username everpost --dbname everpost --no-align --tuples-only \
        --command 'SELECT NOT pg_is_in_recovery()' 2>/dev/null) && [ "$answer" = t ]
}

if [ ! -s "$PGDATA/PG_VERSION" ] && [ "$FIRST" != yes ]; then
    until other_is_primary; do sleep 1; done
fi
if other_is_primary; then
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        rm -rf "$PGDATA"
        pg_basebackup --host "$OTHER" --username replicator --pgdata "$PGDATA" --wal-method stream --checkpoint fast \
            --write-recovery-conf
    elif [ ! -e "$PGDATA/standby.signal" ]; then
        echo "$OTHER has become the primary. Remove this server's volume, and it becomes the standby." >&2
        sleep 10
        exit 1
    fi
fi
exec docker-entrypoint.sh postgres -c wal_keep_size=1GB -c max_connections=200
