-- The next tasks of operations before :operation_id.
DELETE FROM operation_tasks WHERE (operation_id, task_id) IN (
    SELECT operation_id, task_id FROM operation_tasks
    WHERE operation_id < :operation_id ORDER BY operation_id, task_id LIMIT :limit
)
