-- Index many rows in one statement, except rows that were archived meanwhile. :rows is a JSON list of [row number, text].
WITH given (entry) AS MATERIALIZED (SELECT value FROM json_each(:rows))
INSERT INTO publish_tasks_search (rowid, text)
SELECT entry ->> 0, entry ->> 1 FROM given
WHERE EXISTS (SELECT 1 FROM publish_tasks WHERE task_id = entry ->> 0)
