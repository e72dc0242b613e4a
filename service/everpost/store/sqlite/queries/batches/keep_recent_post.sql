INSERT INTO recent_posts (digest, task_id, at_ms, until_ms) VALUES (:digest, :task_id, :at_ms, :until_ms)
