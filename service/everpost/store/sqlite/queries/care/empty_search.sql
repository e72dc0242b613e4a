-- Forget all rows of the index (https://sqlite.org/fts5.html#the_delete_all_command).
INSERT INTO publish_tasks_search (publish_tasks_search) VALUES ('delete-all')
