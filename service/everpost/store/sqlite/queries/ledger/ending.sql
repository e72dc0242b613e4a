-- How an ended task moves from the ledger into the history (I1): one insert into this view does both, so that the insert
-- can be a whole transaction. If the history has the id of an inherited row already, the row moves without its id. The
-- view is temporary, in each connection that writes, so it always belongs to this version.
CREATE TEMP VIEW ending (
    task_id, status, finished_at, queued_at, started_at, attempt, error_class, error_message, result, provider_post_id,
    publish_url, platform, account_id, material_id, title, tags, cover, schedule_time, publish_mode, failure
) AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL;
-- The same for the causes of failed tasks. An insert into this view, unlike one into a table, costs nothing for the others.
CREATE TEMP VIEW failing (task_id, platform, account_id, error_class, failure) AS SELECT NULL, NULL, NULL, NULL, NULL;
CREATE TEMP TRIGGER failing_causes INSTEAD OF INSERT ON failing BEGIN
    INSERT OR IGNORE INTO failure_causes (cause, error_class, text)
    VALUES (NEW.failure ->> 'cause', NEW.error_class, NEW.failure ->> 'text');
    INSERT OR IGNORE INTO failures (task_id, cause, platform, account_id, created_at, ended_s)
    SELECT
        t.task_id, NEW.failure ->> 'cause', ifnull(ifnull(t.platform, NEW.platform), ''),
        ifnull(ifnull(t.account_id, NEW.account_id), ''), t.created_at, NEW.failure ->> 'ended_s'
    FROM task_queue AS t
    WHERE t.task_id = NEW.task_id;
END;
CREATE TEMP TRIGGER ending_moves INSTEAD OF INSERT ON ending BEGIN
    INSERT INTO publish_tasks (
        job_id, platform, account_id, material_id, title, tags, cover, schedule_time, publish_mode,
        status, error_message, created_at, updated_at, published_at, completed_at, task_data, priority,
        retry_of, root_id, generation, batch_id, attempts, error_class, result,
        provider_post_id, publish_url, queued_at, started_at, checkpoint, checkpoint_attempt, callback_url,
        submitted_by
    )
    SELECT
        iif(t.accepted_by IS NULL AND EXISTS (SELECT 1 FROM publish_tasks AS h WHERE h.job_id = t.task_id), NULL, t.task_id),
        ifnull(t.platform, NEW.platform), ifnull(t.account_id, NEW.account_id), NEW.material_id,
        ifnull(t.title, NEW.title), NEW.tags, NEW.cover, NEW.schedule_time, NEW.publish_mode,
        NEW.status, NEW.error_message, t.created_at, NEW.finished_at,
        iif(NEW.status = 'success', NEW.finished_at, NULL), NEW.finished_at, t.data, t.priority,
        t.retry_of, t.root_id, t.generation, t.batch_id,
        CASE
            WHEN NEW.attempt IS NULL THEN t.attempts
            WHEN t.attempts IS NULL THEN '[' || NEW.attempt || ']'
            WHEN json_valid(t.attempts) AND t.attempts LIKE '[%' THEN json_insert(t.attempts, '$[#]', json(NEW.attempt))
            ELSE '[' || NEW.attempt || ']' -- another program wrote into the column
        END,
        NEW.error_class, NEW.result,
        NEW.provider_post_id, NEW.publish_url, ifnull(NEW.queued_at, t.created_at), NEW.started_at,
        t.checkpoint, t.checkpoint_attempt, t.callback_url, t.submitted_by
    FROM task_queue AS t
    WHERE t.task_id = NEW.task_id;
    SELECT RAISE(ABORT, 'not in the ledger') WHERE changes() = 0;
    INSERT INTO failing (task_id, platform, account_id, error_class, failure)
    SELECT NEW.task_id, NEW.platform, NEW.account_id, NEW.error_class, NEW.failure WHERE NEW.status = 'failed';
    DELETE FROM task_queue WHERE task_id = NEW.task_id;
END;
