-- Unless the row was archived meanwhile.
INSERT INTO publish_tasks_search (rowid, text)
SELECT :row, :text WHERE EXISTS (SELECT 1 FROM publish_tasks WHERE task_id = :row)
