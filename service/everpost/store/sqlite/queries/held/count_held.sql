-- It reads the whole ledger, and is asked only while dispatch is paused.
SELECT count(*) FROM task_queue WHERE sending = 0
