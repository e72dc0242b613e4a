SELECT task_id, status, retry_count, sending, ifnull(root_id, task_id) AS chain_id, generation,
    json_array_length(ifnull(attempts, '[]')) AS attempts
FROM task_queue
WHERE task_id IN (SELECT value FROM json_each(:task_ids))
