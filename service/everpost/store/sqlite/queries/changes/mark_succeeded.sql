-- A person has found the post, so the unknown task is a success.
UPDATE {ended} SET
    status = 'success',
    published_at = :decided_at,
    updated_at = :decided_at,
    provider_post_id = ifnull(:provider_post_id, provider_post_id),
    publish_url = ifnull(:publish_url, publish_url),
    error_class = NULL,
    error_message = NULL
WHERE job_id = :task_id AND status = 'unknown'
RETURNING job_id
