-- A person sends an unknown task again. Its outcome no longer matters: the new task takes its place.
UPDATE {ended} SET
    status = 'cancelled',
    updated_at = :decided_at,
    error_message = 'Sent again as ' || :new_task_id || coalesce('; before: ' || error_message, '')
WHERE job_id = :task_id AND status = 'unknown'
