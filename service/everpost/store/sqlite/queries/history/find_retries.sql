-- The archive has no index of retry_of, so its retries are found by the root of the chain.
SELECT task_id, status, 'ledger' AS place, created_at FROM task_queue WHERE retry_of = :task_id
UNION ALL
SELECT job_id, status, 'history', created_at FROM publish_tasks WHERE retry_of = :task_id
UNION ALL
SELECT job_id, status, 'archive', created_at FROM publish_tasks_archive WHERE root_id = :chain_id AND retry_of = :task_id
ORDER BY created_at DESC
LIMIT :limit
