-- The numbers of some groups in some slices, the first of which begins at :began_s.
SELECT n.began_s, n.cause, n.platform, n.account_id, n.tasks, n.first_s, n.last_s, n.sample
FROM unnest(:slices::bigint[]) AS given (began_s)
CROSS JOIN unnest(:causes::text[], :platforms::text[], :accounts::text[]) AS e (cause, platform, account_id)
JOIN failure_counts AS n ON n.slice_s = :slice_s AND n.began_s = given.began_s
    AND n.cause = e.cause AND n.platform = e.platform AND n.account_id = e.account_id
UNION ALL
SELECT n.began_s / :slice_s * :slice_s, n.cause, n.platform, n.account_id, n.tasks, n.first_s, n.last_s, n.sample
FROM failure_count_changes AS n WHERE n.began_s >= :began_s
UNION ALL
SELECT n.began_s / :slice_s * :slice_s, '', '', '', n.tasks, n.first_s, n.last_s, n.sample
FROM failure_count_changes AS n WHERE n.began_s >= :began_s
