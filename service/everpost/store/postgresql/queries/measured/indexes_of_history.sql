-- Definitions without ONLY: with it, PostgreSQL would make the index for no month.
SELECT indexrelid::regclass::text AS name, replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ') AS definition
FROM pg_index WHERE indrelid = 'publish_tasks'::regclass AND NOT indisunique
ORDER BY indexrelid
