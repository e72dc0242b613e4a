-- The transaction of the first row that a page passed because it is too young for the walk.
SELECT written_in::text AS written_in
FROM task_queue
WHERE (written_in, task_id) > (:after_transaction::text::xid8, :after_id)
    AND (written_in, task_id) <= (:last_transaction::text::xid8, :last_id)
    AND (
        (written_in, task_id) > (:end_transaction::text::xid8, :end_id)
        OR written_in = ANY (:late::text[]::xid8[])
    )
    AND accepted_by IS NOT NULL
    AND created_at > :before AND created_at <= :ahead
ORDER BY task_queue.written_in, task_id
LIMIT 1
