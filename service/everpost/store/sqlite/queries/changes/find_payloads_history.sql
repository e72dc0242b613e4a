-- An original file may have several rows with one id; the last row, the newest, counts.
SELECT h.job_id AS id, CAST(h.task_data AS BLOB), h.priority, h.platform, h.account_id, h.material_id, h.title, h.tags,
    h.cover, h.schedule_time, h.publish_mode, h.raw_job
FROM json_each(:task_ids) AS wanted CROSS JOIN publish_tasks AS h ON h.job_id = wanted.value
ORDER BY h.task_id
