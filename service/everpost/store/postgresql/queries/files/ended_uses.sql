-- The uses of tasks that are not in the ledger any more. There are few uses, since these are removed.
SELECT u.file_id, u.task_id FROM file_uses AS u
WHERE NOT EXISTS (SELECT FROM task_queue AS t WHERE t.task_id = u.task_id)
ORDER BY u.file_id, u.task_id LIMIT :limit
