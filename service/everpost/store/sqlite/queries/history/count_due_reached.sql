-- As count_due, of the platforms and accounts in :reach, a JSON list, among the first :most tasks of each time.
SELECT (
    SELECT count(*) FROM (
        SELECT platform, platform || char(10) || account_id AS account
        FROM task_queue INDEXED BY task_queue_scheduled
        WHERE status = 'scheduled' AND due_at >= given.value ->> 0 AND due_at < given.value ->> 1
        ORDER BY due_at, task_id LIMIT :most
    )
    WHERE platform IN (SELECT value FROM json_each(:reach)) OR account IN (SELECT value FROM json_each(:reach))
) AS tasks, (
    SELECT count(*) FROM (
        SELECT 1 FROM task_queue INDEXED BY task_queue_scheduled
        WHERE status = 'scheduled' AND due_at >= given.value ->> 0 AND due_at < given.value ->> 1 LIMIT :most
    )
) AS looked
FROM json_each(:bounds) AS given ORDER BY given.key
