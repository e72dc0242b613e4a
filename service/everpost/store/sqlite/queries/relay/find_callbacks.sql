-- The callbacks in the ledger about ended tasks and about the batches of these, as runnable_tasks.sql.
WITH given (id) AS (
    SELECT value FROM json_each(:task_ids)
    UNION
    SELECT h.batch_id FROM json_each(:task_ids) AS wanted CROSS JOIN publish_tasks AS h ON h.job_id = wanted.value
    UNION
    SELECT first.batch_id FROM json_each(:task_ids) AS wanted CROSS JOIN publish_tasks AS h ON h.job_id = wanted.value
        CROSS JOIN publish_tasks AS first ON first.job_id = h.root_id
    UNION
    SELECT first.batch_id FROM json_each(:task_ids) AS wanted CROSS JOIN publish_tasks AS h ON h.job_id = wanted.value
        CROSS JOIN publish_tasks_archive AS first ON first.job_id = h.root_id
)
SELECT t.id, octet_length(t.data) AS size_bytes,
    CASE WHEN octet_length(t.data) <= :most THEN CAST(t.data AS BLOB) END AS data,
    t.task_id, t.priority, t.due_at, t.retry_of, t.root_id, t.generation, t.batch_id,
    t.platform, t.account_id, t.title, t.created_at, t.accepted_by
FROM given CROSS JOIN task_queue AS t ON t.task_id > given.id || '.' AND t.task_id < given.id || '/'
WHERE t.accepted_by = 'callback'
