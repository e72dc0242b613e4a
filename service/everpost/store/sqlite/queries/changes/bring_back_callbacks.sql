UPDATE publish_tasks SET callback_url = a.callback_url
FROM (
    SELECT job_id, callback_url FROM publish_tasks_archive
    WHERE task_id IN (SELECT CAST(value AS INTEGER) FROM json_each(:rows)) AND callback_url IS NOT NULL
) AS a
WHERE publish_tasks.job_id = a.job_id
