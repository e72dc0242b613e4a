-- The next ended tasks that the search lacks, of as many entries as have :limit tasks.
SELECT entry, unnest(job_ids) AS task_id
FROM (
    SELECT entry, job_ids, sum(cardinality(job_ids)) OVER (ROWS UNBOUNDED PRECEDING) - cardinality(job_ids) AS before
    FROM (SELECT entry, job_ids FROM publish_tasks_unsearched ORDER BY entry LIMIT :limit) AS first
) AS next
WHERE before < :limit
ORDER BY entry
