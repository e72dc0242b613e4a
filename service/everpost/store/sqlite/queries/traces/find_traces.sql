SELECT task_id, context, origin FROM json_each(:task_ids) CROSS JOIN task_traces ON task_id = value
