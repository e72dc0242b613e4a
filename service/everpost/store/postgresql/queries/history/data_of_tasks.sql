-- The data of the first of these tasks, from the place that has them, as many as have :most bytes together, and at least one.
-- Only their sizes are read of the others.
SELECT task_id, data FROM (
    SELECT task_id, data, sum(size_bytes) OVER (ORDER BY number, place ROWS UNBOUNDED PRECEDING) - size_bytes AS before
    FROM (
        SELECT number, 1 AS place, task_id, data, octet_length(data) AS size_bytes
        FROM unnest(:task_ids::text[]) WITH ORDINALITY AS wanted (id, number) JOIN task_queue ON task_id = wanted.id
        UNION ALL
        SELECT number, 2, job_id, task_data, coalesce(octet_length(task_data), 0)
        FROM unnest(:task_ids::text[]) WITH ORDINALITY AS wanted (id, number) JOIN publish_tasks ON job_id = wanted.id
        UNION ALL
        SELECT number, 3, job_id, task_data, coalesce(octet_length(task_data), 0)
        FROM unnest(:task_ids::text[]) WITH ORDINALITY AS wanted (id, number) JOIN publish_tasks_archive ON job_id = wanted.id
    ) AS found
) AS sized
WHERE before < :most::bigint
