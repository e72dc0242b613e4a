-- Which server, database and tables these are. Each kind of restore, and each promotion, changes one of them: a base
-- backup the timeline, another cluster its identifier, pg_restore the database's or the tables' number.
SELECT
    CASE
        WHEN has_function_privilege('pg_control_system()', 'execute')
        THEN (SELECT system_identifier::text FROM pg_control_system())
    END AS system_identifier,
    CASE
        WHEN has_function_privilege('pg_walfile_name(pg_lsn)', 'execute')
        THEN left(pg_walfile_name(pg_current_wal_lsn()), 8)
    END AS timeline,
    (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS database,
    'task_queue'::regclass::oid::bigint AS tables,
    current_setting('synchronous_standby_names') <> '' AND current_setting('synchronous_commit') IN ('on', 'remote_apply')
        AS is_synchronous
