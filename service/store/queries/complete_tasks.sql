-- The ledger rows of ended tasks become history rows, all in one statement; the delete that follows is in the same
-- transaction (I1). :ended is a JSON list of [record, queued_at, started_at, finished_at]. An inherited row whose id the
-- history has already goes there without it. MATERIALIZED: json_each would write each element out anew at every use.
WITH given (e) AS MATERIALIZED (SELECT value FROM json_each(:ended))
INSERT INTO publish_tasks (
    job_id, platform, account_id, material_id, title, tags, cover, schedule_time, publish_mode,
    status, error_message, created_at, updated_at, published_at, completed_at, task_data, priority,
    retry_of, root_id, generation, batch_id, attempts, error_class, result,
    provider_post_id, publish_url, queued_at, started_at
)
SELECT
    iif(t.accepted_by IS NULL AND EXISTS (SELECT 1 FROM publish_tasks AS h WHERE h.job_id = t.task_id), NULL, t.task_id),
    ifnull(t.platform, e ->> '$[0].columns.platform'), ifnull(t.account_id, e ->> '$[0].columns.account_id'),
    e ->> '$[0].columns.material_id', ifnull(t.title, e ->> '$[0].columns.title'), e ->> '$[0].columns.tags',
    e ->> '$[0].columns.cover', e ->> '$[0].columns.schedule_time', e ->> '$[0].columns.publish_mode',
    e ->> '$[0].status', e ->> '$[0].error_message', t.created_at, e ->> '$[3]',
    iif(e ->> '$[0].status' = 'success', e ->> '$[3]', NULL), e ->> '$[3]',
    t.data, t.priority, t.retry_of, t.root_id, t.generation, t.batch_id,
    CASE
        WHEN e ->> '$[0].attempt' IS NULL THEN t.attempts
        WHEN t.attempts IS NULL THEN '[' || (e ->> '$[0].attempt') || ']'
        ELSE json_insert(t.attempts, '$[#]', json(e ->> '$[0].attempt'))
    END,
    e ->> '$[0].error_class', e ->> '$[0].result', e ->> '$[0].provider_post_id', e ->> '$[0].publish_url',
    ifnull(e ->> '$[1]', t.created_at), e ->> '$[2]'
FROM given CROSS JOIN task_queue AS t ON t.task_id = e ->> '$[0].task_id'
