-- Settings of the present transaction. A list follows an index that has its order, whatever the planner thinks of the
-- alternatives; planning it again for each value, or compiling it, takes longer than running it. The time limit is for a
-- client that was cut off.
SELECT set_config(name, setting, true) FROM (VALUES
    ('statement_timeout', :timeout_ms::bigint::text), ('plan_cache_mode', 'force_generic_plan'), ('jit', 'off'),
    ('max_parallel_workers_per_gather', '0'), ('enable_seqscan', 'off'), ('enable_sort', 'off'),
    ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off')
) AS settings (name, setting)
