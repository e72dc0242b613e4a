-- :sizes is a JSON object with the expected size of each task's data in bytes; -1 asks for no data.
-- The answer is one row: a JSON list of facts, and the joined data of all tasks with the expected size. With a row for
-- each task, the reading thread would wait for the interpreter's lock at every row.
-- The version of the accounts tells whether the worker knows all accounts that were registered before.
-- CAST: an original file may hold anything, and one odd row must not keep the other tasks of its claim from running.
SELECT
    json_group_array(json_array(
        t.task_id, CAST(ifnull(t.status, '') AS TEXT), CAST(ifnull(t.retry_count, 0) AS INTEGER),
        CAST(t.sending AS INTEGER), CAST(ifnull(t.root_id, t.task_id) AS TEXT),
        CAST(ifnull(t.generation, 0) AS INTEGER), CAST(t.platform AS TEXT), CAST(t.attempts AS TEXT),
        iif(length(CAST(t.data AS BLOB)) = w.value, json('true'), json('false')),
        CAST(t.checkpoint AS TEXT),
        CAST(t.late_at AS TEXT), iif(t.status = 'scheduled', CAST(t.due_at AS TEXT), NULL)
    )),
    CAST(group_concat(iif(length(CAST(t.data AS BLOB)) = w.value, t.data, ''), '') AS BLOB),
    (SELECT value FROM everpost_meta WHERE key = 'accounts')
FROM json_each(:sizes) AS w CROSS JOIN task_queue AS t ON t.task_id = w.key
