-- The positions of tasks as in find_positions.sql, with the data of each row, unless it has more than :most_bytes.
-- The original also queued other kinds of tasks; those cannot be published again, so their data is left out.
SELECT a.job_id AS id, 'archive' AS source, a.status, ifnull(a.root_id, a.job_id) AS chain_id,
    a.generation, NULL AS accepted_by, NULL AS sending, a.callback_url IS NOT NULL AS calls_back, a.submitted_by,
    ifnull(octet_length(a.task_data), octet_length(a.raw_job)) AS size_bytes,
    CASE WHEN octet_length(a.task_data) <= :most_bytes THEN CAST(a.task_data AS BLOB) END, a.priority, a.platform,
    a.account_id, a.material_id, a.title, a.tags, a.cover, a.schedule_time, a.publish_mode,
    CASE WHEN octet_length(a.raw_job) <= :most_bytes THEN a.raw_job END, 1 AS rank, a.task_id AS row
FROM {ids} AS wanted CROSS JOIN publish_tasks_archive AS a ON a.job_id = wanted.value
UNION ALL
SELECT h.job_id, 'history', h.status, ifnull(h.root_id, h.job_id), h.generation, NULL, NULL, h.callback_url IS NOT NULL, h.submitted_by,
    ifnull(octet_length(h.task_data), octet_length(h.raw_job)),
    CASE WHEN octet_length(h.task_data) <= :most_bytes THEN CAST(h.task_data AS BLOB) END, h.priority, h.platform,
    h.account_id, h.material_id, h.title, h.tags, h.cover, h.schedule_time, h.publish_mode,
    CASE WHEN octet_length(h.raw_job) <= :most_bytes THEN h.raw_job END, 2, h.task_id
FROM {ids} AS wanted CROSS JOIN publish_tasks AS h ON h.job_id = wanted.value
UNION ALL
SELECT t.task_id, 'ledger', t.status, ifnull(t.root_id, t.task_id), t.generation, t.accepted_by, t.sending,
    t.callback_url IS NOT NULL, t.submitted_by, octet_length(t.data),
    CASE WHEN t.task_type IN ('publish', 'batch_publish', 'callback') AND octet_length(t.data) <= :most_bytes
        THEN CAST(t.data AS BLOB) END, t.priority,
    CASE WHEN t.task_type IN ('publish', 'batch_publish', 'callback') THEN t.platform END,
    t.account_id, NULL, t.title, NULL, NULL, NULL, NULL, NULL, 3, t.id
FROM {ids} AS wanted CROSS JOIN task_queue AS t ON t.task_id = wanted.value
