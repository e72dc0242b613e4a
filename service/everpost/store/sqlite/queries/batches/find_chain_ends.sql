-- Every task of some retry chains, in all three tables, with how it ended.
SELECT wanted.value AS chain_id, t.task_id, t.generation, 'ledger' AS place, t.status, NULL AS error_class,
    t.error_message, NULL AS provider_post_id, NULL AS publish_url
FROM json_each(:chain_ids) AS wanted CROSS JOIN task_queue AS t ON ifnull(t.root_id, t.task_id) = wanted.value
WHERE t.accepted_by IS NOT NULL
UNION ALL
SELECT wanted.value, h.job_id, h.generation, 'history', h.status, h.error_class, h.error_message, h.provider_post_id,
    h.publish_url
FROM json_each(:chain_ids) AS wanted CROSS JOIN publish_tasks AS h ON h.root_id = wanted.value
UNION ALL
SELECT wanted.value, h.job_id, h.generation, 'history', h.status, h.error_class, h.error_message, h.provider_post_id,
    h.publish_url
FROM json_each(:chain_ids) AS wanted CROSS JOIN publish_tasks AS h ON h.job_id = wanted.value
UNION ALL
SELECT wanted.value, a.job_id, a.generation, 'archive', a.status, a.error_class, a.error_message, a.provider_post_id,
    a.publish_url
FROM json_each(:chain_ids) AS wanted CROSS JOIN publish_tasks_archive AS a ON a.root_id = wanted.value
UNION ALL
SELECT wanted.value, a.job_id, a.generation, 'archive', a.status, a.error_class, a.error_message, a.provider_post_id,
    a.publish_url
FROM json_each(:chain_ids) AS wanted CROSS JOIN publish_tasks_archive AS a ON a.job_id = wanted.value
