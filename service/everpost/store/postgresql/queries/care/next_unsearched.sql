-- The next ended tasks that the search lacks, of so many entries; without title and data if they were archived meanwhile.
SELECT entry, id AS task_id, title, error_message, left(task_data, :most::bigint::integer) AS data
FROM (SELECT entry, job_ids FROM publish_tasks_unsearched ORDER BY entry LIMIT :entries) AS next
CROSS JOIN LATERAL unnest(job_ids) AS id LEFT JOIN publish_tasks ON job_id = id
ORDER BY entry
