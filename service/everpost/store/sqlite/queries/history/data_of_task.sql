-- The data of a task as it is stored, in the place that counts for it; see `History.find_task`.
SELECT CAST(data AS BLOB) FROM (
    SELECT 1 AS place, id AS number, data FROM task_queue WHERE task_id = :task_id
    UNION ALL SELECT 2, task_id, task_data FROM publish_tasks WHERE job_id = :task_id
    UNION ALL SELECT 3, task_id, task_data FROM publish_tasks_archive WHERE job_id = :task_id
)
ORDER BY place, number DESC LIMIT 1
