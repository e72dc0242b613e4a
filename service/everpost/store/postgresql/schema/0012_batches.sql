-- needs: 1
-- A task whose callback_url is '' has no callback, and counts for its batch: it lost its address when it was edited.
CREATE OR REPLACE FUNCTION everpost_accept_callback(webhook_id text, url text, at text, account text, event json)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO task_queue (
        task_id, task_type, priority, status, data, created_at, updated_at, platform, account_id, title, accepted_by
    )
    SELECT webhook_id || '.callback', 'callback', 5, 'pending',
        json_build_object(
            'platform', 'callback', 'account_id', account,
            'callback', json_build_object('id', webhook_id, 'url', url, 'event', event)
        )::text,
        at, at, 'callback', account, '', 'callback'
    WHERE url <> ''
        AND NOT EXISTS (SELECT FROM task_queue WHERE task_id = webhook_id || '.callback')
        AND NOT EXISTS (SELECT FROM publish_tasks WHERE job_id = webhook_id || '.callback')
        AND NOT EXISTS (SELECT FROM publish_tasks_archive WHERE job_id = webhook_id || '.callback')
        AND NOT EXISTS (
            SELECT FROM everpost_meta WHERE key = 'move' AND value::json ->> 'is_finished' = 'false'
        )
$$;

-- The status of a retry chain, which is that of its newest task; NULL if its tasks were destroyed.
CREATE FUNCTION everpost_status_of_chain(first text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT status FROM (
        SELECT status, generation FROM publish_tasks WHERE job_id = first OR root_id = first
        UNION ALL
        SELECT status, generation FROM publish_tasks_archive WHERE job_id = first OR root_id = first
    ) AS chain
    ORDER BY generation DESC LIMIT 1
$$;

-- The last unfinished task of a batch has ended. The newest task of each retry chain counts, also if it is archived. The
-- version before kept no items of a batch, so its tasks are found by its id.
CREATE OR REPLACE FUNCTION everpost_call_back_of_batch() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counts json;
    succeeded bigint;
    found bigint;
    status text;
BEGIN
    SELECT coalesce(json_object_agg(newest, tasks), '{}'),
        coalesce(sum(tasks) FILTER (WHERE newest = 'success'), 0), coalesce(sum(tasks), 0)
    INTO counts, succeeded, found
    FROM (
        SELECT everpost_status_of_chain(first.task_id) AS newest, count(*) AS tasks
        FROM (
            SELECT item ->> 'task_id' AS task_id FROM json_array_elements(NEW.items::json) AS item
            UNION
            SELECT job_id FROM publish_tasks WHERE batch_id = NEW.batch_id AND root_id IS NULL
        ) AS first
        GROUP BY 1
    ) AS chains
    WHERE newest IS NOT NULL;
    status := CASE WHEN succeeded = found + NEW.rejected THEN 'success' WHEN succeeded > 0 THEN 'partial' ELSE 'failed' END;
    PERFORM everpost_accept_callback(
        NEW.batch_id || '.' || (NEW.rounds + 1), NEW.callback_url, NEW.updated_at, '',
        json_build_object('type', NEW.kind || '.' || status, 'timestamp', NEW.updated_at, 'data', json_build_object(
            'batch_id', NEW.batch_id, 'kind', NEW.kind, 'status', status, 'round', NEW.rounds + 1,
            'total', NEW.total, 'rejected', NEW.rejected, 'counts', counts,
            'created_at', NEW.created_at, 'ended_at', NEW.updated_at
        ))
    );
    UPDATE batches SET rounds = rounds + 1 WHERE batch_id = NEW.batch_id;
    RETURN NULL;
END $$;
