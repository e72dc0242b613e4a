-- The server, its settings, and how much of its limits is used.
SELECT
    current_setting('server_version_num')::integer AS version_number,
    current_setting('server_version') AS version,
    current_user AS user_name,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('autovacuum') AS autovacuum,
    current_setting('server_encoding') AS encoding,
    pg_database_size(current_database()) AS size_bytes,
    (SELECT max(age(datfrozenxid)) FROM pg_database)::bigint AS oldest_xid_age,
    current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer AS connections,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections_used,
    pg_has_role(current_user, 'pg_monitor', 'usage') AS sees_others,
    has_function_privilege('pg_control_system()', 'execute') AS sees_system,
    coalesce(has_schema_privilege(current_schema(), 'create'), FALSE) AS may_create, -- NULL: it may use no schema
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms
