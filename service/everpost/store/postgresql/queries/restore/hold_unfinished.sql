-- A task that could have run may have been sent since; begin_send refuses it from now on. A task that was not due before
-- :now was not sent.
UPDATE task_queue SET sending = 0, error_message = :message
WHERE accepted_by IS NOT NULL AND sending IS NULL AND NOT (status = 'scheduled' AND due_at > :now)
