-- needs: 1
-- Fan-outs (one content for many accounts), and batches with a callback. They are kept for ever, as their tasks are.
CREATE TABLE batches (
    batch_id     text COLLATE "C" PRIMARY KEY,
    kind         text COLLATE "C" NOT NULL,                -- fanout | batch
    items        text,                                     -- of a fan-out: JSON list, an object for each account
    created_at   text COLLATE "C" NOT NULL,
    updated_at   text COLLATE "C",                         -- when the last of its tasks ended
    callback_url text,                                     -- told when all tasks have ended
    total        integer NOT NULL DEFAULT 0,               -- accounts or items, rejected ones too
    rejected     integer NOT NULL DEFAULT 0,
    unfinished   integer NOT NULL DEFAULT 0,               -- tasks without an end; counted only if there is a callback_url
    rounds       integer NOT NULL DEFAULT 0                -- how often all tasks had ended
) WITH (fillfactor = 80);
ALTER TABLE batches ALTER items SET STATISTICS 0;

ALTER TABLE task_queue ADD callback_url text;
ALTER TABLE publish_tasks ADD callback_url text;
ALTER TABLE publish_tasks_archive ADD callback_url text;

-- Callbacks: whatever statement ends a task that has a callback_url, or changes how it ended, writes the task of its
-- callback in the same transaction. The id of a callback follows from the end, so an end that is recorded again has no
-- second callback. While tasks are moved here from another database, their callbacks come along.
CREATE FUNCTION everpost_accept_callback(webhook_id text, url text, at text, account text, event json) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO task_queue (
        task_id, task_type, priority, status, data, created_at, updated_at, platform, account_id, title, accepted_by
    )
    SELECT webhook_id || '.callback', 'callback', 5, 'pending',
        json_build_object(
            'platform', 'callback', 'account_id', account,
            'callback', json_build_object('id', webhook_id, 'url', url, 'event', event)
        )::text,
        at, at, 'callback', account, '', 'callback'
    WHERE NOT EXISTS (SELECT FROM task_queue WHERE task_id = webhook_id || '.callback')
        AND NOT EXISTS (SELECT FROM publish_tasks WHERE job_id = webhook_id || '.callback')
        AND NOT EXISTS (SELECT FROM publish_tasks_archive WHERE job_id = webhook_id || '.callback')
        AND NOT EXISTS (
            SELECT FROM everpost_meta WHERE key = 'move' AND value::json ->> 'is_finished' = 'false'
        )
$$;

-- The batch of a retry is that of the first task of its chain.
CREATE FUNCTION everpost_batch_of(root text, own text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN root IS NULL THEN own ELSE coalesce(
        (SELECT batch_id FROM publish_tasks WHERE job_id = root),
        (SELECT batch_id FROM publish_tasks_archive WHERE job_id = root LIMIT 1)
    ) END
$$;

CREATE FUNCTION everpost_call_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM everpost_accept_callback(
        NEW.job_id || '.' || NEW.status, NEW.callback_url, NEW.updated_at, NEW.account_id,
        json_build_object('type', 'task.' || NEW.status, 'timestamp', NEW.updated_at, 'data', json_build_object(
            'task_id', NEW.job_id, 'status', NEW.status, 'status_before', CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END,
            'platform', NEW.platform, 'account_id', NEW.account_id, 'title', NEW.title,
            'batch_id', NEW.batch_id, 'retry_of', NEW.retry_of,
            'error_class', NEW.error_class, 'error_message', NEW.error_message,
            'provider_post_id', NEW.provider_post_id, 'publish_url', NEW.publish_url,
            'created_at', NEW.created_at, 'ended_at', NEW.updated_at
        ))
    );
    -- A task that its retry replaces while it waits has not ended for its batch: the retry has its place.
    IF TG_OP = 'INSERT'
        AND NOT (NEW.status = 'cancelled' AND coalesce(NEW.error_message, '') LIKE 'Superseded by its retry %')
    THEN
        UPDATE batches SET unfinished = unfinished - 1, updated_at = NEW.updated_at
        WHERE batch_id = everpost_batch_of(NEW.root_id, NEW.batch_id) AND callback_url IS NOT NULL AND unfinished > 0
            AND NOT EXISTS (
                SELECT FROM everpost_meta WHERE key = 'move' AND value::json ->> 'is_finished' = 'false'
            );
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER publish_tasks_calls_back AFTER INSERT ON publish_tasks FOR EACH ROW
    WHEN (NEW.callback_url IS NOT NULL) EXECUTE FUNCTION everpost_call_back();
-- A late result, or a person's decision. A month that was archived as a whole has successes only, which stay so.
CREATE TRIGGER publish_tasks_calls_again AFTER UPDATE OF status ON publish_tasks FOR EACH ROW
    WHEN (NEW.callback_url IS NOT NULL AND NEW.status IS DISTINCT FROM OLD.status) EXECUTE FUNCTION everpost_call_back();
CREATE TRIGGER publish_tasks_archive_calls_again AFTER UPDATE OF status ON publish_tasks_archive FOR EACH ROW
    WHEN (NEW.callback_url IS NOT NULL AND NEW.status IS DISTINCT FROM OLD.status) EXECUTE FUNCTION everpost_call_back();

-- The retry of an ended task is one more unfinished task of its batch.
CREATE FUNCTION everpost_join_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE batches SET unfinished = unfinished + 1
    WHERE batch_id = everpost_batch_of(NEW.root_id, NULL) AND callback_url IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM publish_tasks
            WHERE job_id = NEW.retry_of AND error_message = 'Superseded by its retry ' || NEW.task_id
        )
        AND NOT EXISTS (SELECT FROM everpost_meta WHERE key = 'move' AND value::json ->> 'is_finished' = 'false');
    RETURN NULL;
END $$;
CREATE TRIGGER task_queue_joins_batch AFTER INSERT ON task_queue FOR EACH ROW
    WHEN (NEW.root_id IS NOT NULL AND NEW.callback_url IS NOT NULL) EXECUTE FUNCTION everpost_join_batch();

-- The last unfinished task of a batch has ended. The newest task of each retry chain counts.
CREATE FUNCTION everpost_call_back_of_batch() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counts json;
    succeeded bigint;
    status text;
BEGIN
    SELECT coalesce(json_object_agg(newest, tasks), '{}'), coalesce(sum(tasks) FILTER (WHERE newest = 'success'), 0)
    INTO counts, succeeded
    FROM (
        SELECT coalesce((
            SELECT newer.status FROM publish_tasks AS newer
            WHERE newer.root_id = root.job_id ORDER BY newer.generation DESC LIMIT 1
        ), root.status) AS newest, count(*) AS tasks
        FROM publish_tasks AS root WHERE root.batch_id = NEW.batch_id AND root.root_id IS NULL
        GROUP BY 1
    ) AS found;
    status := CASE WHEN succeeded = NEW.total THEN 'success' WHEN succeeded > 0 THEN 'partial' ELSE 'failed' END;
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
CREATE TRIGGER batches_calls_back AFTER UPDATE OF unfinished ON batches FOR EACH ROW
    WHEN (NEW.unfinished = 0 AND OLD.unfinished > 0) EXECUTE FUNCTION everpost_call_back_of_batch();
