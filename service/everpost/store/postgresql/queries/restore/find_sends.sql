-- The tasks that were being sent. It reads the whole ledger.
SELECT task_id, sending, started_at FROM task_queue WHERE sending > 0 ORDER BY task_id
