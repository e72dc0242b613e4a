-- As end_failed_tasks.sql, for rows whose answer was lost: an end with the same status and time is the one that they wrote.
WITH given AS (
    SELECT * FROM unnest(:rows::everpost_failed[])
), {moved}, {failed}
SELECT task_id FROM moved WHERE (SELECT count(*) FROM locked) >= 0
UNION ALL
SELECT h.job_id FROM publish_tasks AS h JOIN given ON given.task_id = h.job_id
WHERE h.job_id = ANY (:ids)
    AND h.status = given.status AND h.updated_at = given.finished_at
