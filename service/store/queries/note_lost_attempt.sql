-- An attempt that never reported, kept once. It began when its intent was written, else no earlier than it was due.
UPDATE task_queue SET attempts = json_insert(
    ifnull(attempts, '[]'), '$[#]',
    json_set(
        :attempt, '$.started_at',
        ifnull(iif(sending = :number, started_at, NULL), max(created_at, ifnull(due_at, created_at)))
    )
)
WHERE task_id = :task_id
    AND NOT EXISTS (SELECT 1 FROM json_each(task_queue.attempts) WHERE value ->> 'number' = :number)
