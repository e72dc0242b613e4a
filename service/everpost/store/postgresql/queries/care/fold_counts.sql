-- Add changes to the counts. Of two processes that do so at once, one finds that the other has taken these changes.
WITH taken AS (
    DELETE FROM task_count_changes
    WHERE ctid = ANY (ARRAY(SELECT ctid FROM task_count_changes LIMIT :limit))
    RETURNING source, status, platform, tasks
)
INSERT INTO task_counts (source, status, platform, tasks)
SELECT source, status, platform, sum(tasks) FROM taken GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT (source, status, platform) DO UPDATE SET tasks = task_counts.tasks + excluded.tasks
