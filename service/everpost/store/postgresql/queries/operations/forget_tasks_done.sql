-- The next tasks of operations before :operation_id. ANY (ARRAY …) finds each by its place; a join would read the table.
DELETE FROM operation_tasks WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM operation_tasks
    WHERE operation_id < :operation_id ORDER BY operation_id, task_id LIMIT :limit FOR UPDATE SKIP LOCKED
))
