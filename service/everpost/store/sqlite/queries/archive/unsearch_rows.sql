DELETE FROM publish_tasks_search WHERE rowid IN (SELECT value FROM json_each(:rows))
