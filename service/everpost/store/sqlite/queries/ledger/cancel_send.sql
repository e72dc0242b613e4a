-- The attempt ended before its first byte left, so the next one may send.
UPDATE task_queue SET sending = NULL, status = 'pending', updated_at = :now
WHERE task_id = :task_id AND sending = :attempt
