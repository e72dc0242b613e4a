-- The numbers of some groups in some slices, the first of which begins at :began_s. OFFSET: else PostgreSQL may read all.
SELECT n.*
FROM unnest(:causes::text[], :platforms::text[], :accounts::text[]) AS e (cause, platform, account_id)
CROSS JOIN LATERAL (
    SELECT began_s, cause, platform, account_id, tasks, first_s, last_s, sample FROM failure_counts AS c
    WHERE c.slice_s = :slice_s AND c.began_s = ANY (:slices::bigint[])
        AND c.cause = e.cause AND c.platform = e.platform AND c.account_id = e.account_id
    OFFSET 0
) AS n
UNION ALL
SELECT n.began_s / :slice_s * :slice_s, n.cause, n.platform, n.account_id, n.tasks, n.first_s, n.last_s, n.sample
FROM failure_count_changes AS n WHERE n.began_s >= :began_s
UNION ALL
SELECT n.began_s / :slice_s * :slice_s, '', '', '', n.tasks, n.first_s, n.last_s, n.sample
FROM failure_count_changes AS n WHERE n.began_s >= :began_s
