-- The texts of ended tasks. Only ANY has the months that are read chosen once, not for each task.
SELECT job_id AS task_id, title, error_message, left(task_data, :most::bigint::integer) AS data
FROM publish_tasks WHERE job_id = ANY (:task_ids::text[])
