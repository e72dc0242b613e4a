-- A late result of an ended task, whose row is locked. If it is a success, the task becomes one too; if the task was sent
-- again meanwhile, its row keeps saying so.
UPDATE {ended} SET
    attempts = :attempts,
    published_at = CASE WHEN :status = 'success' AND status <> 'success' THEN :finished_at ELSE published_at END,
    provider_post_id = coalesce(provider_post_id, :provider_post_id),
    publish_url = coalesce(publish_url, :publish_url),
    result = coalesce(result, :result),
    error_class = CASE WHEN :status <> 'success' THEN error_class END,
    error_message = CASE WHEN :status <> 'success' THEN error_message ELSE (
        SELECT 'The platform had accepted it after all, and it was sent again as ' || new_task_id
            || ': look for a second post'
        FROM decisions
        WHERE decisions.task_id = :task_id AND decision = 'send_again' AND status_before = 'unknown'
        LIMIT 1
    ) END,
    status = CASE WHEN :status = 'success' THEN 'success' ELSE status END,
    updated_at = :finished_at
WHERE job_id = :task_id
