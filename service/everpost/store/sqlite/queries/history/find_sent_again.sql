-- The tasks of unknown outcome that a person had sent again, and the new task of each.
SELECT task_id, new_task_id FROM decisions
WHERE task_id IN (SELECT value FROM json_each(:task_ids)) AND decision = 'send_again' AND status_before = 'unknown'
