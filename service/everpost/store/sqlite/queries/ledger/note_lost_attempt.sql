-- An attempt that never reported, kept once. It began when its intent was written; without an intent, no earlier than it
-- was due. json_patch leaves NULL out.
UPDATE task_queue SET attempts = json_insert(
    iif(json_valid(attempts) AND attempts LIKE '[%', attempts, '[]'), '$[#]',
    json_patch(:attempt, json_object(
        'started_at', ifnull(iif(sending = :number, started_at, NULL), max(created_at, ifnull(due_at, created_at))),
        'since_boot', json(iif(sending = :number, sending_since, NULL))
    ))
)
WHERE task_id = :task_id
    AND NOT EXISTS (
        SELECT 1 FROM json_each(iif(json_valid(attempts), attempts, '[]'))
        WHERE type = 'object' AND value ->> 'number' = :number
    )
