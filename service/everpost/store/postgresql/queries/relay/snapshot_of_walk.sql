-- The server's timeline, the first transaction that is not in this snapshot, and the transactions of this database that
-- still run. Those of other databases, and of autovacuum, never write into the ledger.
SELECT
    left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline,
    pg_snapshot_xmax(pg_current_snapshot())::text AS next_transaction,
    ARRAY(
        SELECT running::text FROM pg_snapshot_xip(pg_current_snapshot()) AS running
        WHERE NOT EXISTS (
            SELECT FROM pg_stat_activity
            WHERE backend_xid = running::xid AND (datname <> current_database() OR backend_type = 'autovacuum worker')
        )
    ) AS running
