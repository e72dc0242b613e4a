-- A standby shows everything before this position; NULL if the server is not a standby.
SELECT (pg_last_wal_replay_lsn() - '0/0')::bigint WHERE pg_is_in_recovery()
