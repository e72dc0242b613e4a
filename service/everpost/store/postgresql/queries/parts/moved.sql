moved AS (
    DELETE FROM task_queue WHERE task_id = ANY (:ids::text[])
    RETURNING task_id, platform, account_id, title, created_at, data, priority, retry_of, root_id, generation, batch_id,
        attempts, checkpoint, checkpoint_attempt, callback_url, submitted_by
), kept AS (
    INSERT INTO publish_tasks (
        job_id, platform, account_id, material_id, title, tags, cover, schedule_time, publish_mode,
        status, error_message, created_at, updated_at, published_at, completed_at, task_data, priority,
        retry_of, root_id, generation, batch_id, attempts, error_class, result,
        provider_post_id, publish_url, queued_at, started_at, checkpoint, checkpoint_attempt, callback_url,
        submitted_by
    )
    SELECT
        t.task_id, coalesce(t.platform, left(e.platform, 100)), coalesce(t.account_id, left(e.account_id, 256)), e.material_id,
        coalesce(t.title, e.title), e.tags, e.cover, e.schedule_time, e.publish_mode,
        e.status, e.error_message, t.created_at, e.finished_at,
        CASE WHEN e.status = 'success' THEN e.finished_at END, e.finished_at, t.data, t.priority,
        t.retry_of, t.root_id, t.generation, t.batch_id,
        CASE
            WHEN e.attempt IS NULL THEN t.attempts
            WHEN t.attempts LIKE '[{%}]' THEN left(t.attempts, -1) || ',' || e.attempt || ']'
            ELSE '[' || e.attempt || ']'
        END,
        e.error_class, e.result, e.provider_post_id, e.publish_url, coalesce(e.queued_at, t.created_at), e.started_at,
        t.checkpoint, t.checkpoint_attempt, t.callback_url, t.submitted_by
    FROM moved AS t JOIN given AS e ON e.task_id = t.task_id
), locked AS MATERIALIZED (
    -- As lock_batches.sql, before the triggers change the batches in the order of the rows.
    SELECT batch_id FROM batches
    WHERE callback_url IS NOT NULL AND batch_id = ANY (ARRAY(
        SELECT everpost_batch_of(root_id, batch_id) FROM moved WHERE callback_url IS NOT NULL
    ))
    ORDER BY batch_id
    FOR UPDATE
)