SELECT digest, task_id, at_ms FROM recent_posts WHERE digest = ANY (:digests::text[])
