-- CAST: an original file may hold anything.
SELECT CAST(attempts AS TEXT), CAST(sending AS INTEGER), CAST(checkpoint_attempt AS INTEGER)
FROM task_queue WHERE task_id = :task_id
