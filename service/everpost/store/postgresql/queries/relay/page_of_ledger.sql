-- The next rows that were accepted up to :before. Those are in Redis by now, or could not be sent there. Rows without a time
-- are among them, and rows dated after :ahead, from a clock that was set back since. The last walk has shown the rows up to
-- its end, except for those of transactions that were :late.
SELECT written_in::text AS written_in, task_id, priority, created_at, due_at
FROM task_queue
WHERE (written_in, task_id) > (:after_transaction::text::xid8, :after_id)
    AND (
        (written_in, task_id) > (:end_transaction::text::xid8, :end_id)
        OR written_in = ANY (:late::text[]::xid8[])
    )
    AND accepted_by IS NOT NULL
    AND (created_at <= :before OR created_at > :ahead OR created_at IS NULL)
ORDER BY task_queue.written_in, task_id
LIMIT :limit
