-- Every task of some retry chains, wherever it is, with how it ended.
SELECT coalesce(root_id, task_id) AS chain_id, task_id, generation, 'ledger' AS place, status, NULL AS error_class,
    error_message, NULL AS provider_post_id, NULL AS publish_url
FROM task_queue WHERE accepted_by IS NOT NULL AND coalesce(root_id, task_id) = ANY (:chain_ids::text[])
UNION ALL
SELECT coalesce(root_id, job_id), job_id, generation, 'history', status, error_class, error_message, provider_post_id,
    publish_url
FROM publish_tasks WHERE job_id = ANY (:chain_ids) OR root_id = ANY (:chain_ids)
UNION ALL
SELECT coalesce(root_id, job_id), job_id, generation, 'archive', status, error_class, error_message, provider_post_id,
    publish_url
FROM publish_tasks_archive WHERE job_id = ANY (:chain_ids) OR root_id = ANY (:chain_ids)
