-- :sizes is a JSON object: of each wanted task the number of bytes its data is expected to have; -1 asks for no data.
-- One row for all of them, a JSON list of facts and the data of those with the expected size, one after the other:
-- a row each would have the reading thread wait for the interpreter's lock as often.
-- CAST: an original file holds anything, and one odd row must not keep the others of its claim from running.
SELECT
    json_group_array(json_array(
        t.task_id, CAST(ifnull(t.status, '') AS TEXT), CAST(ifnull(t.retry_count, 0) AS INTEGER),
        CAST(t.sending AS INTEGER), CAST(ifnull(t.root_id, t.task_id) AS TEXT),
        CAST(ifnull(t.generation, 0) AS INTEGER), CAST(t.platform AS TEXT), CAST(t.attempts AS TEXT),
        iif(length(CAST(t.data AS BLOB)) = w.value, json('true'), json('false'))
    )),
    CAST(group_concat(iif(length(CAST(t.data AS BLOB)) = w.value, t.data, ''), '') AS BLOB)
FROM json_each(:sizes) AS w CROSS JOIN task_queue AS t ON t.task_id = w.key
