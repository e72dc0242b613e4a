-- Some tasks of a batch, up to :most of each place.
SELECT * FROM (
    SELECT status, title, platform, account_id, created_at FROM publish_tasks INDEXED BY publish_tasks_batch
    WHERE batch_id = :batch_id LIMIT :most
)
UNION ALL
SELECT * FROM (
    SELECT status, title, platform, account_id, created_at FROM task_queue INDEXED BY task_queue_batch
    WHERE batch_id = :batch_id LIMIT :most
)
