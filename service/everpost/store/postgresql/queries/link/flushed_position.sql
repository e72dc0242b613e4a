-- Every commit that was confirmed is before this position of the log.
SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint
