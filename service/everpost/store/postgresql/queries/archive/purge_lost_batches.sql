-- Batches of which no task is left anywhere. Each costs some look-ups by id, until the first task is found. The version
-- before kept no items of a batch, so nothing is known of its tasks: it stays.
DELETE FROM batches AS b
WHERE b.created_at < :before AND b.items <> '[]' AND NOT EXISTS (
    SELECT FROM json_array_elements(b.items::json) AS item
    WHERE EXISTS (
            SELECT FROM task_queue AS t
            WHERE t.accepted_by IS NOT NULL AND coalesce(t.root_id, t.task_id) = item ->> 'task_id'
        )
        OR EXISTS (SELECT FROM publish_tasks AS h WHERE h.job_id = item ->> 'task_id')
        OR EXISTS (SELECT FROM publish_tasks AS h WHERE h.root_id = item ->> 'task_id')
        OR EXISTS (SELECT FROM publish_tasks_archive AS a WHERE a.job_id = item ->> 'task_id')
        OR EXISTS (SELECT FROM publish_tasks_archive AS a WHERE a.root_id = item ->> 'task_id')
)
