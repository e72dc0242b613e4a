DELETE FROM limit_uses WHERE (used_at, task_id) IN (
    SELECT used_at, task_id FROM limit_uses WHERE used_at < :before ORDER BY used_at LIMIT :limit
)
