SELECT attempts::json -> 0 ->> 'started_at' AS started_at, attempts::json -> 0 ->> 'finished_at' AS finished_at
FROM publish_tasks WHERE job_id = ANY (:task_ids::text[])
