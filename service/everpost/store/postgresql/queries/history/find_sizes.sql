-- The sizes of the data of tasks: 0 for a task without data. octet_length() does not read the data.
SELECT wanted.task_id, coalesce(
    (SELECT octet_length(t.data) FROM task_queue AS t WHERE t.task_id = wanted.task_id),
    (
        SELECT max(coalesce(octet_length(h.task_data), octet_length(h.raw_job)))
        FROM publish_tasks AS h WHERE h.job_id = wanted.task_id
    ),
    (
        SELECT max(coalesce(octet_length(a.task_data), octet_length(a.raw_job)))
        FROM publish_tasks_archive AS a WHERE a.job_id = wanted.task_id
    ),
    0
) AS size_bytes
FROM unnest(:task_ids::text[]) AS wanted (task_id)
