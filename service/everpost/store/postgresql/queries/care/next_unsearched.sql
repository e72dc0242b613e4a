-- The next ended tasks that the search lacks, of as many entries as have :limit tasks; without title and data if they
-- were archived meanwhile.
SELECT entry, id AS task_id, title, error_message, left(task_data, :most::bigint::integer) AS data
FROM (
    SELECT entry, job_ids, sum(cardinality(job_ids)) OVER (ROWS UNBOUNDED PRECEDING) - cardinality(job_ids) AS before
    FROM (SELECT entry, job_ids FROM publish_tasks_unsearched ORDER BY entry LIMIT :limit) AS first
) AS next
CROSS JOIN LATERAL unnest(job_ids) AS id LEFT JOIN publish_tasks ON job_id = id
WHERE before < :limit
ORDER BY entry
