-- Every task of some retry chains, in all three tables. An original file may have one id several times: each row counts
SELECT wanted.value AS chain_id, t.task_id AS id, t.status, t.generation, 'ledger' AS source,
    t.callback_url IS NOT NULL AS calls_back
FROM {ids} AS wanted CROSS JOIN task_queue AS t ON ifnull(t.root_id, t.task_id) = wanted.value
WHERE t.accepted_by IS NOT NULL
UNION ALL
SELECT wanted.value, h.job_id, h.status, h.generation, 'history', h.callback_url IS NOT NULL
FROM {ids} AS wanted CROSS JOIN publish_tasks AS h ON h.root_id = wanted.value
UNION ALL
SELECT wanted.value, h.job_id, h.status, h.generation, 'history', h.callback_url IS NOT NULL
FROM {ids} AS wanted CROSS JOIN publish_tasks AS h ON h.job_id = wanted.value
UNION ALL
SELECT wanted.value, a.job_id, a.status, a.generation, 'archive', a.callback_url IS NOT NULL
FROM {ids} AS wanted CROSS JOIN publish_tasks_archive AS a ON a.root_id = wanted.value
UNION ALL
SELECT wanted.value, a.job_id, a.status, a.generation, 'archive', a.callback_url IS NOT NULL
FROM {ids} AS wanted CROSS JOIN publish_tasks_archive AS a ON a.job_id = wanted.value
