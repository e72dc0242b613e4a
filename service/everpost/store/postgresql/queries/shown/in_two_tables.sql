SELECT job_id FROM (
    SELECT task_id AS job_id FROM task_queue
    UNION ALL SELECT job_id FROM publish_tasks
    UNION ALL SELECT job_id FROM publish_tasks_archive
) AS places
GROUP BY job_id HAVING count(*) > 1
