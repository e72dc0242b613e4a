INSERT INTO recent_posts (digest, task_id, at_ms, until_ms)
SELECT digest, task_id, at_ms, until_ms
FROM json_to_recordset(:rows) AS post (digest text, task_id text, at_ms bigint, until_ms bigint)
ON CONFLICT (digest, task_id)
    DO UPDATE SET at_ms = excluded.at_ms, until_ms = greatest(recent_posts.until_ms, excluded.until_ms)
