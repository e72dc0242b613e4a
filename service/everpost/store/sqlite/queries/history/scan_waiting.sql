-- The newest rows of the ledger, as bytes: an inherited row may hold text that is not UTF-8.
SELECT id, CAST(title AS BLOB), CAST(error_message AS BLOB), substr(CAST(data AS BLOB), 1, :most)
FROM task_queue NOT INDEXED
WHERE id > ifnull((SELECT max(id) FROM task_queue), 0) - :scanned
