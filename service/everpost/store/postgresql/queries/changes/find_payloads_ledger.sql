-- The original also queued other kinds of tasks; those cannot be published again.
SELECT task_id, data AS task_data, priority, platform, account_id, NULL AS material_id, title, NULL AS tags, NULL AS cover,
    NULL AS schedule_time, NULL AS publish_mode, NULL AS raw_job
FROM task_queue WHERE task_id = ANY (:task_ids::text[]) AND task_type IN ('publish', 'batch_publish', 'callback')
