-- The numbers of some groups in each slice since a time; :groups is a JSON list of [cause, platform, account_id].
SELECT n.began_s, n.cause, n.platform, n.account_id, n.tasks, n.last_s,
    (SELECT f.task_id FROM failures AS f WHERE f.task_id = n.sample) AS sample
FROM json_each(:slices) AS given
CROSS JOIN json_each(:groups) AS e
CROSS JOIN failure_counts AS n ON n.slice_s = :slice_s AND n.began_s = given.value
    AND n.cause = e.value ->> 0 AND n.platform = e.value ->> 1 AND n.account_id = e.value ->> 2
