-- The sizes of the data of tasks: 0 for a task without data. octet_length() does not read the data.
SELECT wanted.value, coalesce(
    (SELECT octet_length(data) FROM task_queue WHERE task_id = wanted.value),
    (SELECT max(ifnull(octet_length(task_data), octet_length(raw_job))) FROM publish_tasks WHERE job_id = wanted.value),
    (SELECT max(ifnull(octet_length(task_data), octet_length(raw_job))) FROM publish_tasks_archive WHERE job_id = wanted.value),
    0
)
FROM json_each(:task_ids) AS wanted
