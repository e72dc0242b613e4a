-- Callbacks are left out, unless the beginning of one is asked for: the ids of others have no dot.
-- It reads a range of each table's index of ids, so it costs the same for any number of tasks.
SELECT * FROM (
    SELECT task_id, 'ledger' AS place, status, title, created_at FROM task_queue
    WHERE task_id >= :first AND task_id < :end AND (substr(task_id, -9) <> '.callback' OR instr(:first, '.') > 0) ORDER BY task_id DESC LIMIT :limit
)
UNION ALL
SELECT * FROM (
    SELECT job_id, 'history', status, title, created_at FROM publish_tasks
    WHERE job_id >= :first AND job_id < :end AND (substr(job_id, -9) <> '.callback' OR instr(:first, '.') > 0) ORDER BY job_id DESC LIMIT :limit
)
UNION ALL
SELECT * FROM (
    SELECT job_id, 'archive', status, title, created_at FROM publish_tasks_archive
    WHERE job_id >= :first AND job_id < :end AND (substr(job_id, -9) <> '.callback' OR instr(:first, '.') > 0) ORDER BY job_id DESC LIMIT :limit
)
ORDER BY 1 DESC
LIMIT :limit
