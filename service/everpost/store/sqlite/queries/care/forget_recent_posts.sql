DELETE FROM recent_posts WHERE (digest, task_id) IN (
    SELECT digest, task_id FROM recent_posts WHERE until_ms < :now_ms ORDER BY until_ms LIMIT :limit
)
