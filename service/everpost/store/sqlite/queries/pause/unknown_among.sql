SELECT wanted.value FROM json_each(:task_ids) AS wanted
WHERE NOT EXISTS (SELECT 1 FROM task_queue WHERE task_id = wanted.value)
    AND NOT EXISTS (SELECT 1 FROM publish_tasks WHERE job_id = wanted.value)
    AND NOT EXISTS (SELECT 1 FROM publish_tasks_archive WHERE job_id = wanted.value)
