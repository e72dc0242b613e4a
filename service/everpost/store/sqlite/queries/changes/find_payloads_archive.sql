-- An original file may have several rows with one id; the last row, the newest, counts.
SELECT a.job_id AS id, CAST(a.task_data AS BLOB), a.priority, a.platform, a.account_id, a.material_id, a.title, a.tags,
    a.cover, a.schedule_time, a.publish_mode, a.raw_job
FROM json_each(:task_ids) AS wanted CROSS JOIN publish_tasks_archive AS a ON a.job_id = wanted.value
ORDER BY a.task_id
