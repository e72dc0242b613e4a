-- The tasks that were being sent when the backup was made. It reads the whole ledger.
SELECT task_id, sending, started_at FROM task_queue WHERE sending > 0
