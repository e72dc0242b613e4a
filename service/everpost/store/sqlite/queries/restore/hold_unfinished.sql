-- For a restore: whatever could have run since the backup may have been sent since, and begin_send refuses it from now
-- on. What was not due before :now was sent by nobody.
UPDATE task_queue SET sending = 0, error_message = :message
WHERE accepted_by IS NOT NULL AND sending IS NULL AND NOT (status = 'scheduled' AND due_at > :now)
