-- A late failure of a task that somebody else holds by now: kept, and nothing else changes.
UPDATE task_queue SET attempts = json_insert(ifnull(attempts, '[]'), '$[#]', json(:attempt))
WHERE task_id = :task_id
