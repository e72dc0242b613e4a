-- As end_tasks.sql, for rows whose answer was lost: an end with the same status and time is the one that they wrote.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(:rows::everpost_ended[])
), {moved}
SELECT task_id FROM moved
UNION ALL
SELECT h.job_id FROM publish_tasks AS h JOIN given ON given.task_id = h.job_id
WHERE h.job_id = ANY (ARRAY(SELECT given.task_id FROM given))
    AND h.status = given.status AND h.updated_at = given.finished_at
