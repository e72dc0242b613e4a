-- The intent to send (I6), committed before the first byte leaves. No row: an attempt other than :earlier may have sent.
UPDATE task_queue SET sending = :attempt, sending_since = :since_boot, status = 'running', started_at = :now, updated_at = :now
WHERE task_id = :task_id AND sending IS :earlier
RETURNING id
