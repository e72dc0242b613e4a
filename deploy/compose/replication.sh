#!/bin/sh
# Prepares a new primary of compose.cluster.yaml; the image runs this once, after it has made the database.
set -eu
psql --username everpost --dbname everpost --set ON_ERROR_STOP=1 --set password="$(cat /run/secrets/postgres)" <<'END'
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'password';
-- A commit is answered when the standby has it too. If the standby is lost, commits wait: `promote.sh` ends that on a standby,
-- and `ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()` on a primary.
ALTER SYSTEM SET synchronous_standby_names = '*';
END
echo 'host replication replicator all scram-sha-256' >>"$PGDATA/pg_hba.conf"
