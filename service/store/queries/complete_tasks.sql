-- The ledger rows of ended tasks become history rows, all in one statement; the delete that follows is in the same
-- transaction (I1). :records is a JSON list of objects. An inherited row whose id the history has already goes there
-- without it.
INSERT INTO publish_tasks (
    job_id, platform, account_id, material_id, title, tags, cover, schedule_time, publish_mode,
    status, error_message, created_at, updated_at, published_at, completed_at, task_data, priority,
    retry_of, root_id, generation, batch_id, attempts, error_class, result,
    provider_post_id, publish_url, queued_at, started_at
)
SELECT
    iif(t.accepted_by IS NULL AND EXISTS (SELECT 1 FROM publish_tasks AS h WHERE h.job_id = t.task_id), NULL, t.task_id),
    ifnull(t.platform, r.value ->> 'platform'), ifnull(t.account_id, r.value ->> 'account_id'),
    r.value ->> 'material_id', ifnull(t.title, r.value ->> 'title'),
    r.value ->> 'tags', r.value ->> 'cover', r.value ->> 'schedule_time', r.value ->> 'publish_mode',
    r.value ->> 'status', r.value ->> 'error_message', t.created_at, r.value ->> 'finished_at',
    iif(r.value ->> 'status' = 'success', r.value ->> 'finished_at', NULL), r.value ->> 'finished_at',
    t.data, t.priority, t.retry_of, t.root_id, t.generation, t.batch_id,
    iif(
        r.value ->> 'attempt' IS NULL, t.attempts,
        iif(
            t.attempts IS NULL, '[' || (r.value ->> 'attempt') || ']',
            json_insert(t.attempts, '$[#]', json(r.value ->> 'attempt'))
        )
    ),
    r.value ->> 'error_class', r.value ->> 'result', r.value ->> 'provider_post_id', r.value ->> 'publish_url',
    ifnull(r.value ->> 'queued_at', t.created_at), r.value ->> 'started_at'
FROM json_each(:records) AS r CROSS JOIN task_queue AS t ON t.task_id = r.value ->> 'task_id'
