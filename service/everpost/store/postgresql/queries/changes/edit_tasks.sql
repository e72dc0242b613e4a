-- The new versions of waiting tasks, which are locked. One that loses its callback_url still counts for its batch.
WITH given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(:rows) AS given (
        task_id text, task_data text, priority integer, platform text, account_id text, title text,
        is_rescheduled integer, status text, due_at text, has_new_limit integer, late_at text, callback_url text, is_rewritten integer,
        edited_at text
    )
)
UPDATE task_queue AS t SET
    data = given.task_data, priority = given.priority, platform = left(given.platform, 100),
    account_id = left(given.account_id, 256), title = given.title,
    callback_url = coalesce(given.callback_url, CASE WHEN t.callback_url IS NOT NULL THEN '' END),
    status = CASE WHEN given.is_rescheduled = 1 THEN given.status ELSE t.status END,
    due_at = CASE WHEN given.is_rescheduled = 1 THEN given.due_at ELSE t.due_at END,
    late_at = CASE WHEN given.has_new_limit = 1 THEN given.late_at ELSE t.late_at END,
    checkpoint = CASE WHEN given.is_rewritten = 0 THEN t.checkpoint END,
    updated_at = given.edited_at
FROM given
WHERE t.task_id = given.task_id AND t.task_id = ANY (ARRAY(SELECT given.task_id FROM given))
