-- Where a task lies, and what decides whether it may be retried; the ledger first, then the newest row of a table.
SELECT source, status, chain_id, generation, accepted_by, sending FROM (
    SELECT 1 AS rank, id AS row, 'task_queue' AS source, status, ifnull(root_id, task_id) AS chain_id, generation,
        accepted_by, sending
    FROM task_queue WHERE task_id = :task_id
    UNION ALL
    SELECT 2, task_id, 'publish_tasks', status, ifnull(root_id, job_id), generation, NULL, NULL
    FROM publish_tasks WHERE job_id = :task_id
    UNION ALL
    SELECT 3, task_id, 'publish_tasks_archive', status, ifnull(root_id, job_id), generation, NULL, NULL
    FROM publish_tasks_archive WHERE job_id = :task_id
)
ORDER BY rank, row DESC
LIMIT 1
