SELECT task_id FROM task_queue WHERE task_id = ANY (:task_ids::text[]) AND sending = 0 ORDER BY task_id FOR UPDATE
