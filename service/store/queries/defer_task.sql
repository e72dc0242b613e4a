-- An attempt failed in a way that time may mend: the next one is due at :due_at.
UPDATE task_queue SET
    status = 'retry',
    attempts = json_insert(iif(json_valid(attempts) AND attempts LIKE '[%', attempts, '[]'), '$[#]', json(:attempt)),
    retry_count = retry_count + :spent,
    error_message = :error_message,
    sending = nullif(sending, :attempt ->> 'number'), -- another's intent stands
    due_at = :due_at,
    updated_at = :finished_at
WHERE task_id = :task_id
RETURNING id
