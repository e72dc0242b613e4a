-- In the order of :task_ids. PostgreSQL knows the size of a text without reading it.
SELECT coalesce(
    (SELECT octet_length(data) FROM task_queue WHERE task_id = wanted.task_id),
    (SELECT coalesce(octet_length(task_data), octet_length(raw_job)) FROM publish_tasks WHERE job_id = wanted.task_id),
    (SELECT coalesce(octet_length(task_data), octet_length(raw_job)) FROM publish_tasks_archive
        WHERE job_id = wanted.task_id ORDER BY archived_row DESC LIMIT 1),
    0
) AS size_bytes
FROM unnest(:task_ids::text[]) WITH ORDINALITY AS wanted (task_id, number)
ORDER BY number
