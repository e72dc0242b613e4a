SELECT CAST(task_data AS BLOB), priority, platform, account_id, material_id, title, tags, cover, schedule_time,
    publish_mode, status
FROM publish_tasks_archive WHERE job_id = :task_id ORDER BY task_id DESC LIMIT 1
