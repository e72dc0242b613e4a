-- As end_tasks.sql, with failed tasks among them. Ended tasks move from the ledger into the history (I1); those that are not in the ledger are not returned.
WITH given AS (
    SELECT * FROM unnest(:rows::everpost_failed[])
), {moved}, {failed}
SELECT task_id FROM moved WHERE (SELECT count(*) FROM locked) >= 0
