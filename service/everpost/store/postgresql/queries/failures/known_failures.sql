SELECT task_id FROM failures WHERE task_id = ANY (:task_ids::text[])
