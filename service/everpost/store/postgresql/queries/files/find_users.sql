-- :reach has platforms, and accounts as platform, line break, account; or is NULL for all tasks.
SELECT u.task_id FROM file_uses AS u
WHERE u.file_id = :file_id AND EXISTS (
    SELECT FROM task_queue AS t WHERE t.task_id = u.task_id AND (
        :reach::text[] IS NULL
        OR t.platform = ANY (:reach)
        OR t.platform || chr(10) || t.account_id = ANY (:reach)
    )
)
LIMIT :limit
