-- A late failure of a task that somebody else holds by now: kept, once, and nothing else changes.
UPDATE task_queue SET attempts = iif(
    EXISTS (
        SELECT 1 FROM json_each(task_queue.attempts)
        WHERE value ->> 'number' = :attempt ->> 'number' AND value ->> 'worker' IS :attempt ->> 'worker'
            AND value ->> 'finished_at' IS :attempt ->> 'finished_at'
    ),
    attempts,
    json_insert(ifnull(attempts, '[]'), '$[#]', json_patch(:attempt, '{"late": true}'))
)
WHERE task_id = :task_id
