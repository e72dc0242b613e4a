-- Which tasks of unknown outcome a person had sent again, and as which.
SELECT task_id, new_task_id FROM decisions
WHERE task_id IN (SELECT value FROM json_each(:task_ids)) AND decision = 'send_again' AND status_before = 'unknown'
