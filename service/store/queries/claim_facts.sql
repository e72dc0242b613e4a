-- One row with a JSON list of them all: a row each would have the reading thread wait for the interpreter's lock as often.
SELECT json_group_array(json_array(
    task_id, ifnull(status, ''), CAST(ifnull(retry_count, 0) AS INTEGER), CAST(sending AS INTEGER), ifnull(root_id, task_id),
    CAST(ifnull(generation, 0) AS INTEGER), CAST(platform AS TEXT), CAST(attempts AS TEXT)
))
FROM task_queue
WHERE task_id IN (SELECT value FROM json_each(:task_ids))
