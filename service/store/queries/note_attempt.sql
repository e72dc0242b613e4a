-- A late failure of a task that somebody else holds by now: kept, once, and nothing else changes.
UPDATE task_queue SET attempts = iif(
    ifnull(attempts ->> '$[#-1]' = json(:attempt), FALSE), attempts,
    json_insert(ifnull(attempts, '[]'), '$[#]', json(:attempt))
)
WHERE task_id = :task_id
