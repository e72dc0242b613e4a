-- One id may be in several rows; the last row, the newest, counts.
SELECT job_id AS task_id, task_data, priority, platform, account_id, material_id, title, tags, cover, schedule_time,
    publish_mode, raw_job
FROM publish_tasks_archive WHERE job_id = ANY (:task_ids::text[])
ORDER BY archived_row
