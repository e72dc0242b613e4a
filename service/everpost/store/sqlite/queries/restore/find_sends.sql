-- For a restore: what was being sent when the backup was made. It reads the ledger whole.
SELECT task_id, sending, started_at FROM task_queue WHERE sending > 0
