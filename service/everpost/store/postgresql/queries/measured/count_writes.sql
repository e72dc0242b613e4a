-- Each transaction that writes takes a number.
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS writes,
    pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS wal_bytes,
    current_setting('server_version_num')::integer AS version
