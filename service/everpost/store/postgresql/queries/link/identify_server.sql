-- pg_walfile_name is an error on a standby, and pg_control_system may be forbidden.
-- Plans are kept. One that is made while the ledger is empty would read the whole table, also when it is full, so full reads
-- are made to look dear. Making a plan for each month of the history again takes longer than most statements run, and
-- compiling one, which dear plans are before version 18, takes a hundred times as long. A pooler may lose these settings,
-- which are not needed to be correct.
-- A client that lost its network or its power is given up after about 10 s, and one that hangs in a transaction after 15 s;
-- otherwise its locks would stay for hours, and its snapshot would keep dead rows in the tables. Nothing in Everpost lets a
-- transaction wait for so long between two statements.
SELECT
    set_config('enable_seqscan', 'off', FALSE),
    set_config('plan_cache_mode', 'force_generic_plan', FALSE),
    set_config('jit', 'off', FALSE),
    set_config('tcp_keepalives_idle', '5', FALSE),
    set_config('tcp_keepalives_interval', '2', FALSE),
    set_config('tcp_keepalives_count', '3', FALSE),
    set_config('tcp_user_timeout', '10s', FALSE),
    CASE
        WHEN current_setting('idle_in_transaction_session_timeout') = '0'
        THEN set_config('idle_in_transaction_session_timeout', '15s', FALSE)
    END,
    pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS is_read_only,
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('synchronous_standby_names') <> '' AS is_synchronous,
    (SELECT stats_reset::text FROM pg_stat_wal) AS recovered_at, -- a recovery after a crash resets it
    CASE
        WHEN has_function_privilege('pg_control_system()', 'execute')
        THEN (SELECT system_identifier::text FROM pg_control_system())
    END AS system_identifier,
    CASE
        WHEN NOT pg_is_in_recovery() AND has_function_privilege('pg_walfile_name(pg_lsn)', 'execute')
        THEN left(pg_walfile_name(pg_current_wal_lsn()), 8)
    END AS timeline
