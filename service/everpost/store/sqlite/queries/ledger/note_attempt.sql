-- A late failure of a task that another worker has taken over. It is kept once; nothing else changes.
UPDATE task_queue SET attempts = iif(
    EXISTS (
        SELECT 1 FROM json_each(iif(json_valid(attempts), attempts, '[]'))
        WHERE type = 'object' AND value ->> 'number' = :attempt ->> 'number' AND value ->> 'worker' IS :attempt ->> 'worker'
            AND value ->> 'finished_at' IS :attempt ->> 'finished_at'
    ),
    attempts,
    json_insert(
        iif(json_valid(attempts) AND attempts LIKE '[%', attempts, '[]'), '$[#]', json_patch(:attempt, '{"late": true}')
    )
)
WHERE task_id = :task_id
