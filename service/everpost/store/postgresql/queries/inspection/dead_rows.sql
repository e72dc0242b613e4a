-- The dead rows of the tables whose rows come and go.
SELECT relname::text AS name, n_live_tup AS live, n_dead_tup AS dead, pg_total_relation_size(relid) AS size_bytes
FROM pg_stat_user_tables
WHERE schemaname = current_schema() AND relname = ANY (:tables::text[])
ORDER BY relname
