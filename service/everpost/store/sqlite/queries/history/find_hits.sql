SELECT rowid FROM publish_tasks_search WHERE publish_tasks_search MATCH :query LIMIT :limit
