-- Rows that another process is promoting are left to it.
UPDATE task_queue AS t SET status = 'pending', updated_at = :now
FROM (
    SELECT task_id FROM task_queue WHERE promote_at <= :now ORDER BY promote_at LIMIT :limit FOR UPDATE SKIP LOCKED
) AS due
WHERE t.task_id = due.task_id
