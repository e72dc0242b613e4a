-- How many scheduled tasks are due in each time, up to :most; :bounds is a JSON list of [from, until].
SELECT tasks, tasks AS looked FROM (
    SELECT (
        SELECT count(*) FROM (
            SELECT 1 FROM task_queue INDEXED BY task_queue_scheduled
            WHERE status = 'scheduled' AND due_at >= given.value ->> 0 AND due_at < given.value ->> 1 LIMIT :most
        )
    ) AS tasks
    FROM json_each(:bounds) AS given ORDER BY given.key
)
