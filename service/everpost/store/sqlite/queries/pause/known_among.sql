SELECT task_id FROM task_queue WHERE task_id IN (SELECT value FROM json_each(:task_ids))
UNION
SELECT job_id FROM publish_tasks WHERE job_id IN (SELECT value FROM json_each(:task_ids))
UNION
SELECT job_id FROM publish_tasks_archive WHERE job_id IN (SELECT value FROM json_each(:task_ids))
