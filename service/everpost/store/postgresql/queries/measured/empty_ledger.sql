DELETE FROM task_queue
