-- The decisions on a task, and the one that made it; in the order they were taken.
SELECT task_id, decision, status_before, decided_at, decided_by, why, provider_post_id, publish_url, new_task_id
FROM decisions WHERE task_id = :task_id OR new_task_id = :task_id
ORDER BY decision_id
