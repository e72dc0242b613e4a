SELECT task_id, lane, used_at FROM limit_uses WHERE used_at >= :since ORDER BY used_at DESC LIMIT :limit
