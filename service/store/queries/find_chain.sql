-- Every task of a retry chain, wherever it lies; the one asked about only where it has ended, because an original file
-- may hold one id several times, and each of its rows counts.
SELECT task_id AS job_id, status, generation, 'task_queue' AS source FROM task_queue
    WHERE ifnull(root_id, task_id) = :chain_id AND accepted_by IS NOT NULL AND task_id <> :task_id
UNION ALL
SELECT job_id, status, generation, 'publish_tasks' FROM publish_tasks
    WHERE root_id = :chain_id
UNION ALL
SELECT job_id, status, generation, 'publish_tasks' FROM publish_tasks
    WHERE job_id = :chain_id
UNION ALL
SELECT job_id, status, generation, 'publish_tasks_archive' FROM publish_tasks_archive
    WHERE root_id = :chain_id
UNION ALL
SELECT job_id, status, generation, 'publish_tasks_archive' FROM publish_tasks_archive
    WHERE job_id = :chain_id
