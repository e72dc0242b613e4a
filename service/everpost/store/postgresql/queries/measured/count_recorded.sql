SELECT count(*) AS rows, count(DISTINCT job_id) AS tasks,
    coalesce(sum(json_array_length(attempts::json)), 0)::bigint AS attempts
FROM publish_tasks WHERE job_id = ANY (:task_ids::text[]) AND status = :status
