-- The facts for an edit: the attempts, and whether the task has the data and the priority that the new version was made from.
SELECT CAST(attempts AS TEXT) AS attempts,
    ifnull(CAST(data AS BLOB) = :data AND ifnull(priority, 5) = :priority, 0) AS is_as_read
FROM task_queue WHERE task_id = :task_id
