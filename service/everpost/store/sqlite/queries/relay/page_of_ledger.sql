-- The next rows after :after that were accepted up to :before. Those are in Redis by now, or could not be sent there. Rows
-- without a time are among them, and rows dated after :ahead, from a clock that was set back since. The id is read as
-- bytes: it need not be UTF-8, nor text.
SELECT id, CASE typeof(task_id) WHEN 'text' THEN CAST(task_id AS BLOB) END AS task_id, priority, created_at, due_at
FROM task_queue
WHERE id > :after AND (created_at <= :before OR created_at > :ahead OR created_at IS NULL) AND accepted_by IS NOT NULL
ORDER BY id
LIMIT :limit
