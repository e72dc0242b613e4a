-- Locks the retry chains of tasks until the end of the transaction, in the order of their ids, as lock_ids.sql locks ids.
-- A task that is in no table counts as the first one of its chain.
WITH found AS (
    SELECT task_id, coalesce(root_id, task_id) AS chain_id FROM task_queue WHERE task_id = ANY (:task_ids::text[])
    UNION ALL
    SELECT job_id, coalesce(root_id, job_id) FROM publish_tasks WHERE job_id = ANY (:task_ids)
    UNION ALL
    SELECT job_id, coalesce(root_id, job_id) FROM publish_tasks_archive WHERE job_id = ANY (:task_ids)
)
SELECT chain_id, pg_advisory_xact_lock(hashtextextended(chain_id, 0)) AS locked
FROM (
    SELECT DISTINCT coalesce(found.chain_id, given.task_id) AS chain_id
    FROM unnest(:task_ids) AS given (task_id) LEFT JOIN found USING (task_id)
    ORDER BY chain_id
) AS sorted
