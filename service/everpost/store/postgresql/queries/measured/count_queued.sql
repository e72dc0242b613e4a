SELECT count(*) FROM task_queue WHERE task_id = ANY (:task_ids::text[])
