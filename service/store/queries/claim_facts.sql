-- One row with a JSON list of them all: a row each would have the reading thread wait for the interpreter's lock as often.
-- CAST: an original file holds anything, and one odd row must not keep the others of its claim from running.
SELECT json_group_array(json_array(
    task_id, CAST(ifnull(status, '') AS TEXT), CAST(ifnull(retry_count, 0) AS INTEGER), CAST(sending AS INTEGER),
    CAST(ifnull(root_id, task_id) AS TEXT), CAST(ifnull(generation, 0) AS INTEGER), CAST(platform AS TEXT),
    CAST(attempts AS TEXT)
))
FROM task_queue
WHERE task_id IN (SELECT value FROM json_each(:task_ids))
