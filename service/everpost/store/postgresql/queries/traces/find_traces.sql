SELECT task_id, context, origin FROM task_traces WHERE task_id = ANY (:task_ids::text[])
