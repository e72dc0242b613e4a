SELECT digest, task_id, at_ms FROM recent_posts WHERE digest IN (SELECT value FROM json_each(:digests))
