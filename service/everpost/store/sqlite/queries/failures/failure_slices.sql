-- The numbers of some groups in some slices; :groups is a JSON list of [cause, platform, account_id].
SELECT n.began_s, n.cause, n.platform, n.account_id, n.tasks, n.first_s, n.last_s, n.sample
FROM json_each(:slices) AS given
CROSS JOIN (
    SELECT value ->> 0 AS cause, value ->> 1 AS platform, value ->> 2 AS account_id FROM json_each(:groups)
) AS e
CROSS JOIN failure_counts AS n ON n.slice_s = :slice_s AND n.began_s = given.value
    AND n.cause = e.cause AND n.platform = e.platform AND n.account_id = e.account_id
