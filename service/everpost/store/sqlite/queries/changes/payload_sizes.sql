-- In the order of :task_ids. Each size is read when its row is fetched, so a caller that has enough stops there.
SELECT coalesce(
    (SELECT length(CAST(data AS BLOB)) FROM task_queue WHERE task_id = wanted.value),
    (SELECT ifnull(length(CAST(task_data AS BLOB)), length(raw_job)) FROM publish_tasks WHERE job_id = wanted.value),
    (SELECT ifnull(length(CAST(task_data AS BLOB)), length(raw_job)) FROM publish_tasks_archive WHERE job_id = wanted.value),
    0
)
FROM json_each(:task_ids) AS wanted
