-- The positions of tasks, with the facts for rules. If several rows have one id, the last counts: the one in the ledger,
-- or else the newest of the history, or else the newest of the archive.
SELECT a.job_id AS id, 'archive' AS source, a.status, ifnull(a.root_id, a.job_id) AS chain_id,
    a.generation, NULL AS accepted_by, NULL AS sending, a.callback_url IS NOT NULL AS calls_back, a.submitted_by,
    ifnull(octet_length(a.task_data), octet_length(a.raw_job)) AS size_bytes, 1 AS rank, a.task_id AS row
FROM json_each(:task_ids) AS wanted CROSS JOIN publish_tasks_archive AS a ON a.job_id = wanted.value
UNION ALL
SELECT h.job_id, 'history', h.status, ifnull(h.root_id, h.job_id), h.generation, NULL, NULL, h.callback_url IS NOT NULL, h.submitted_by,
    ifnull(octet_length(h.task_data), octet_length(h.raw_job)), 2, h.task_id
FROM json_each(:task_ids) AS wanted CROSS JOIN publish_tasks AS h ON h.job_id = wanted.value
UNION ALL
SELECT t.task_id, 'ledger', t.status, ifnull(t.root_id, t.task_id), t.generation, t.accepted_by, t.sending,
    t.callback_url IS NOT NULL, t.submitted_by, octet_length(t.data), 3, t.id
FROM json_each(:task_ids) AS wanted CROSS JOIN task_queue AS t ON t.task_id = wanted.value
ORDER BY rank, row
