INSERT INTO recent_posts (digest, task_id, at_ms, until_ms) VALUES (:digest, :task_id, :at_ms, :until_ms)
ON CONFLICT (digest, task_id) DO UPDATE SET at_ms = excluded.at_ms, until_ms = max(until_ms, excluded.until_ms)
