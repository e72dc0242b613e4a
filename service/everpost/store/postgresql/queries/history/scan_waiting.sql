-- The newest rows of the ledger, as much of their data as is compared, and not more than so many bytes of it in all.
SELECT task_id, title, error_message, data FROM (
    SELECT task_id, title, error_message, left(data, :most::bigint::integer) AS data,
        sum(least(octet_length(data), :most)) OVER (ROWS UNBOUNDED PRECEDING) AS size
    FROM (
        SELECT task_id, title, error_message, data FROM task_queue ORDER BY created_at DESC, task_id DESC LIMIT :scanned
    ) AS newest
) AS found
WHERE size <= :most_in_all
