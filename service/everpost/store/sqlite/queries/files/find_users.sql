-- :reach is a JSON list of platforms, and of accounts as platform, line break, account; or NULL for all tasks.
SELECT u.task_id FROM file_uses AS u CROSS JOIN task_queue AS t ON t.task_id = u.task_id
WHERE u.file_id = :file_id AND (
    :reach IS NULL
    OR t.platform IN (SELECT value FROM json_each(:reach))
    OR t.platform || char(10) || t.account_id IN (SELECT value FROM json_each(:reach))
)
LIMIT :limit
