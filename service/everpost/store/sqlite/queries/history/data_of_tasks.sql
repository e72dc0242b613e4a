-- The data of tasks as it is stored, in their order, each in the place that counts for it; see `History.find_task`. Rows
-- are read one by one, so the reader may stop before all of them are in memory.
SELECT wanted.value, CAST(coalesce(
    (SELECT data FROM task_queue WHERE task_id = wanted.value ORDER BY id DESC LIMIT 1),
    (SELECT task_data FROM publish_tasks WHERE job_id = wanted.value ORDER BY task_id DESC LIMIT 1),
    (SELECT task_data FROM publish_tasks_archive WHERE job_id = wanted.value ORDER BY task_id DESC LIMIT 1)
) AS BLOB)
FROM json_each(:task_ids) AS wanted
