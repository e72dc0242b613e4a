-- The next batches, and whether a task of their retry chains is left anywhere. The version before kept no items of a
-- batch, so nothing is known of its tasks: it is left out.
SELECT b.batch_id, EXISTS (
    SELECT 1 FROM json_each(b.items) AS item
    WHERE EXISTS (
            SELECT 1 FROM task_queue AS t
            WHERE ifnull(t.root_id, t.task_id) = item.value ->> 'task_id' AND t.accepted_by IS NOT NULL
        )
        OR EXISTS (SELECT 1 FROM publish_tasks AS h WHERE h.job_id = item.value ->> 'task_id')
        OR EXISTS (SELECT 1 FROM publish_tasks AS h WHERE h.root_id = item.value ->> 'task_id')
        OR EXISTS (SELECT 1 FROM publish_tasks_archive AS a WHERE a.job_id = item.value ->> 'task_id')
        OR EXISTS (SELECT 1 FROM publish_tasks_archive AS a WHERE a.root_id = item.value ->> 'task_id')
) AS has_tasks
FROM batches AS b
WHERE b.batch_id > :after AND b.created_at < :before AND b.items <> '[]'
ORDER BY b.batch_id LIMIT :limit
