SELECT count(*) FROM publish_tasks WHERE error_class = 'unreadable'
