-- For the relay: the next rows after :after, old enough that whoever accepted them has enqueued them or failed to, or
-- of a time that a clock showed before it was set back.
SELECT id, task_id, priority, created_at, due_at
FROM task_queue
WHERE id > :after AND (created_at <= :before OR created_at > :ahead) AND accepted_by IS NOT NULL
ORDER BY id
LIMIT :limit
