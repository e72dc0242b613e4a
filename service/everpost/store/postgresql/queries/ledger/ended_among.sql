SELECT job_id AS task_id FROM publish_tasks WHERE job_id = ANY (:task_ids::text[])
UNION
SELECT job_id FROM publish_tasks_archive WHERE job_id = ANY (:task_ids)
