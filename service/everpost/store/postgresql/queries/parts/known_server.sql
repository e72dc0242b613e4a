known_server AS MATERIALIZED (
    -- Whether this is the server and database that the kept lineage names. A pooler may lead to another one, or to a
    -- promoted standby, before any process has noticed it; nothing may be sent then until one has compared the lineage.
    SELECT NOT EXISTS (
        SELECT FROM everpost_meta AS kept, LATERAL (
            SELECT
                kept.value::json ->> 'system_identifier' AS system_identifier,
                kept.value::json ->> 'timeline' AS timeline,
                kept.value::json ->> 'tables' AS tables
        ) AS known
        WHERE kept.key = 'lineage' AND (
            known.tables <> 'task_queue'::regclass::oid::text
            OR known.timeline <> CASE
                WHEN NOT pg_is_in_recovery() AND has_function_privilege('pg_walfile_name(pg_lsn)', 'execute')
                THEN left(pg_walfile_name(pg_current_wal_lsn()), 8)
            END
            OR known.system_identifier <> CASE
                WHEN has_function_privilege('pg_control_system()', 'execute')
                THEN (SELECT system_identifier::text FROM pg_control_system())
            END
        )
    ) AS is_known
)
