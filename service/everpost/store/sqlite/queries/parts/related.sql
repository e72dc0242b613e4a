EXISTS (SELECT 1 FROM task_edits WHERE task_id = :task_id) AS is_edited,
    EXISTS (SELECT 1 FROM decisions WHERE task_id = :task_id OR new_task_id = :task_id) AS is_decided,
    EXISTS (SELECT 1 FROM task_queue WHERE retry_of = :task_id)
        OR EXISTS (SELECT 1 FROM publish_tasks WHERE retry_of = :task_id)
        OR EXISTS (
            SELECT 1 FROM publish_tasks_archive WHERE root_id = coalesce(t.root_id, :task_id) AND retry_of = :task_id
        ) AS is_retried
