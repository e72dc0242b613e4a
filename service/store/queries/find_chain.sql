-- Every task of a retry chain but the one asked about, wherever it lies.
SELECT task_id AS job_id, status, generation, 'task_queue' AS source FROM task_queue
    WHERE ifnull(root_id, task_id) = :chain_id AND accepted_by IS NOT NULL AND task_id <> :task_id
UNION ALL
SELECT job_id, status, generation, 'publish_tasks' FROM publish_tasks
    WHERE root_id = :chain_id AND job_id <> :task_id
UNION ALL
SELECT job_id, status, generation, 'publish_tasks' FROM publish_tasks
    WHERE job_id = :chain_id AND job_id <> :task_id
UNION ALL
SELECT job_id, status, generation, 'publish_tasks_archive' FROM publish_tasks_archive
    WHERE root_id = :chain_id AND job_id <> :task_id
UNION ALL
SELECT job_id, status, generation, 'publish_tasks_archive' FROM publish_tasks_archive
    WHERE job_id = :chain_id AND job_id <> :task_id
