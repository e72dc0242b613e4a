SELECT task_id, status, retry_count, sending, ifnull(root_id, task_id) AS chain_id, generation, platform, attempts
FROM task_queue
WHERE task_id IN (SELECT value FROM json_each(:task_ids))
