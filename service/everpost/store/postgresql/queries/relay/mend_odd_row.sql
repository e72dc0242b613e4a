-- Mends an odd row before it moves into the history; all other columns stay as they are.
UPDATE task_queue SET task_id = :new_id, attempts = :attempts WHERE task_id = :task_id
