-- How many tasks were sent again although the platform had accepted them; a late result showed it.
SELECT count(*) FROM decisions CROSS JOIN publish_tasks ON publish_tasks.job_id = decisions.task_id
WHERE decision = 'send_again' AND status_before = 'unknown' AND publish_tasks.status = 'success'
