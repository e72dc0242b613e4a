-- For the relay: the next rows after :after, old enough that whoever accepted them has enqueued them or failed to, or
-- of a time that a clock showed before it was set back, or of none. The id as bytes: it need not be UTF-8, nor text.
SELECT id, CASE typeof(task_id) WHEN 'text' THEN CAST(task_id AS BLOB) END AS task_id, priority, created_at, due_at
FROM task_queue
WHERE id > :after AND (created_at <= :before OR created_at > :ahead OR created_at IS NULL) AND accepted_by IS NOT NULL
ORDER BY id
LIMIT :limit
