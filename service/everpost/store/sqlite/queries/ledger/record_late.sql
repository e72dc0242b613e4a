-- A late result of an ended task. Its attempt is kept once. If it is a success, the task becomes one too; if the task was
-- sent again meanwhile, its row keeps saying so.
UPDATE {ended} SET
    attempts = iif(
        :attempt IS NULL OR EXISTS (
            SELECT 1 FROM json_each(iif(json_valid(attempts), attempts, '[]'))
            WHERE type = 'object' AND value ->> 'number' = :attempt ->> 'number' AND value ->> 'worker' IS :attempt ->> 'worker'
                AND value ->> 'finished_at' IS :attempt ->> 'finished_at'
        ),
        attempts,
        json_insert(
            iif(json_valid(attempts) AND attempts LIKE '[%', attempts, '[]'), '$[#]',
            json_patch(
                :attempt,
                json_object('late', json('true'), 'provider_post_id', :provider_post_id, 'publish_url', :publish_url)
            )
        )
    ),
    published_at = iif(:status = 'success' AND status <> 'success', :finished_at, published_at),
    provider_post_id = ifnull(provider_post_id, :provider_post_id),
    publish_url = ifnull(publish_url, :publish_url),
    result = ifnull(result, CAST(:result AS TEXT)),
    error_class = iif(:status = 'success', NULL, error_class),
    error_message = iif(:status = 'success', (
        SELECT 'The platform had accepted it after all, and it was sent again as ' || new_task_id
            || ': look for a second post'
        FROM decisions
        WHERE decisions.task_id = :task_id AND decision = 'send_again' AND status_before = 'unknown'
    ), error_message),
    status = iif(:status = 'success', 'success', status),
    updated_at = :finished_at
WHERE job_id = :task_id
RETURNING status
