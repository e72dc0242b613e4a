SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
FROM pg_index WHERE indrelid = 'publish_tasks'::regclass AND NOT indisunique
ORDER BY indexrelid
