#!/bin/sh
# Makes a standby of compose.cluster.yaml the primary. Stop the old primary first.
set -eu
psql --username everpost --dbname everpost --command 'ALTER SYSTEM RESET synchronous_standby_names' \
    --command 'SELECT pg_reload_conf()'
pg_ctl --pgdata "$PGDATA" promote
