-- The standbys. Without the rights of pg_monitor, only their number can be seen.
SELECT application_name AS name, state, sync_state,
    pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint AS behind_bytes,
    current_setting('synchronous_standby_names') AS synchronous_names
FROM pg_stat_replication
ORDER BY application_name
