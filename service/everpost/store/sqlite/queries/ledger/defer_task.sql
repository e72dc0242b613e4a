-- An attempt failed, and the next one is due at :due_at.
UPDATE task_queue SET
    status = 'retry',
    -- From a run of rate limits, the first and the last are listed, with the number of those between.
    attempts = CASE
        WHEN NOT json_valid(attempts) OR attempts NOT LIKE '[%' THEN json_array(json(:attempt))
        WHEN :attempt ->> 'error_class' = 'rate_limited' AND attempts ->> '$[#-1].error_class' = 'rate_limited'
            AND attempts ->> '$[#-2].error_class' = 'rate_limited' AND attempts ->> '$[#-1].late' IS NULL
        THEN json_set(
            attempts, '$[#-1]',
            json_set(:attempt, '$.omitted', CAST(ifnull(attempts ->> '$[#-1].omitted', 0) AS INTEGER) + 1)
        )
        ELSE json_insert(ifnull(attempts, '[]'), '$[#]', json(:attempt))
    END,
    retry_count = retry_count + :spent,
    error_message = :error_message,
    sending = nullif(sending, :attempt ->> 'number'), -- another's intent stands
    due_at = :due_at,
    updated_at = :finished_at
WHERE task_id = :task_id
RETURNING id
