-- A person has it sent again: it is settled, and its successor stands for it.
UPDATE publish_tasks SET
    status = 'cancelled',
    updated_at = :decided_at,
    error_message = 'Sent again as ' || :new_task_id || ifnull('; before: ' || error_message, '')
WHERE job_id = :task_id AND status = 'unknown'
RETURNING job_id
