-- Rows that another process is promoting are left to it. ANY (ARRAY …) looks each id up; a join would read the table.
UPDATE task_queue SET status = 'pending', updated_at = :now
WHERE task_id = ANY (ARRAY(
    SELECT task_id FROM task_queue WHERE promote_at <= :now ORDER BY promote_at LIMIT :limit FOR UPDATE SKIP LOCKED
))
