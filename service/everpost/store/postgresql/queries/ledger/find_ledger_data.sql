SELECT task_id, data FROM task_queue WHERE task_id = ANY (:task_ids)
