-- Some tasks of batches, up to :most of each place.
SELECT given.batch_id, found.*
FROM unnest(:batch_ids::text[]) AS given (batch_id) CROSS JOIN LATERAL (
    (SELECT status, title, platform, account_id, created_at FROM publish_tasks AS h WHERE h.batch_id = given.batch_id LIMIT :most)
    UNION ALL
    (SELECT status, title, platform, account_id, created_at FROM task_queue AS q WHERE q.batch_id = given.batch_id LIMIT :most)
) AS found
