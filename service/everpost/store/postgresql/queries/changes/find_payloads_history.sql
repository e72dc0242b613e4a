SELECT job_id AS task_id, task_data, priority, platform, account_id, material_id, title, tags, cover, schedule_time,
    publish_mode, raw_job
FROM publish_tasks WHERE job_id = ANY (:task_ids::text[])
