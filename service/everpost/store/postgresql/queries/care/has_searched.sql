SELECT EXISTS (SELECT FROM publish_tasks_search)
