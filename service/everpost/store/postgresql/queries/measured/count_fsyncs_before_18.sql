-- As JSON, because version 18 has no such column.
SELECT coalesce((to_jsonb(log) ->> 'wal_sync')::bigint, 0) FROM pg_stat_wal AS log
