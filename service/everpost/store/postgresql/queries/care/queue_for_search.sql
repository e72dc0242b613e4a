-- The next tasks behind :after count as lacking in the search, so that their words are added anew; the last one's id, or
-- NULL if no task follows.
WITH next AS (
    SELECT job_id, row_number() OVER (ORDER BY job_id) / 250 AS part
    FROM (SELECT job_id FROM publish_tasks WHERE job_id > :after ORDER BY job_id LIMIT :limit) AS ids
), added AS (
    INSERT INTO publish_tasks_unsearched (job_ids) SELECT array_agg(job_id) FROM next GROUP BY part
)
SELECT max(job_id) FROM next
