-- The newest rows of the history that the search lacks, with the columns of scan_waiting.sql.
SELECT task_id, title, error_message, data FROM (
    SELECT job_id AS task_id, title, error_message, left(task_data, :most::bigint::integer) AS data,
        sum(least(octet_length(task_data), :most)) OVER (ROWS UNBOUNDED PRECEDING) AS size
    FROM (
        SELECT unnest(job_ids) AS id FROM publish_tasks_unsearched ORDER BY entry DESC LIMIT :scanned
    ) AS newest
    JOIN publish_tasks ON job_id = newest.id
) AS found
WHERE size <= :most_in_all
