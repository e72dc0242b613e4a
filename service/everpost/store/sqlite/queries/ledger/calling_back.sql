-- Callbacks: whatever statement ends a task that has a callback_url, or changes how it ended, writes the task of its
-- callback in the same transaction. Like `ending.sql`, all of this is temporary, in each connection that ends tasks.
-- The id of a callback follows from the end, so an end that is recorded again has no second callback. A task whose
-- callback_url is '' has no callback, and counts for its batch.
CREATE TEMP VIEW callback_due (webhook_id, url, at, account_id, event) AS SELECT NULL, NULL, NULL, NULL, NULL;
CREATE TEMP TRIGGER callback_due_accepted INSTEAD OF INSERT ON callback_due BEGIN
    INSERT INTO task_queue (
        task_id, task_type, priority, status, data, created_at, updated_at, platform, account_id, title, accepted_by
    )
    SELECT NEW.webhook_id || '.callback', 'callback', 5, 'pending',
        json_object(
            'platform', 'callback', 'account_id', NEW.account_id,
            'callback', json_object('id', NEW.webhook_id, 'url', NEW.url, 'event', json(NEW.event))
        ),
        NEW.at, NEW.at, 'callback', NEW.account_id, '', 'callback'
    WHERE NEW.url <> ''
        AND NOT EXISTS (SELECT 1 FROM task_queue WHERE task_id = NEW.webhook_id || '.callback')
        AND NOT EXISTS (SELECT 1 FROM publish_tasks WHERE job_id = NEW.webhook_id || '.callback')
        AND NOT EXISTS (SELECT 1 FROM publish_tasks_archive WHERE job_id = NEW.webhook_id || '.callback');
END;

CREATE TEMP VIEW news_of_task (
    task_id, url, status, status_before, platform, account_id, title, batch_id, retry_of, error_class, error_message,
    provider_post_id, publish_url, created_at, at
) AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL;
CREATE TEMP TRIGGER news_of_task_due INSTEAD OF INSERT ON news_of_task BEGIN
    INSERT INTO callback_due VALUES (
        NEW.task_id || '.' || NEW.status, NEW.url, NEW.at, NEW.account_id,
        json_object('type', 'task.' || NEW.status, 'timestamp', NEW.at, 'data', json_object(
            'task_id', NEW.task_id, 'status', NEW.status, 'status_before', NEW.status_before,
            'platform', NEW.platform, 'account_id', NEW.account_id, 'title', NEW.title,
            'batch_id', NEW.batch_id, 'retry_of', NEW.retry_of,
            'error_class', NEW.error_class, 'error_message', NEW.error_message,
            'provider_post_id', NEW.provider_post_id, 'publish_url', NEW.publish_url,
            'created_at', NEW.created_at, 'ended_at', NEW.at
        ))
    );
END;

CREATE TEMP TRIGGER publish_tasks_calls_back AFTER INSERT ON main.publish_tasks WHEN NEW.callback_url IS NOT NULL BEGIN
    INSERT INTO news_of_task VALUES (
        NEW.job_id, NEW.callback_url, NEW.status, NULL, NEW.platform, NEW.account_id, NEW.title, NEW.batch_id,
        NEW.retry_of, NEW.error_class, NEW.error_message, NEW.provider_post_id, NEW.publish_url, NEW.created_at,
        NEW.updated_at
    );
    -- A task belongs to the batch of the first task of its retry chain. One that its retry replaces while it waits has
    -- not ended for its batch: the retry has its place.
    UPDATE batches SET unfinished = unfinished - 1, updated_at = NEW.updated_at
    WHERE callback_url IS NOT NULL AND unfinished > 0
        AND NOT (NEW.status = 'cancelled' AND ifnull(NEW.error_message, '') GLOB 'Superseded by its retry *')
        AND batch_id = CASE WHEN NEW.root_id IS NULL THEN NEW.batch_id ELSE ifnull(
            (SELECT batch_id FROM publish_tasks WHERE job_id = NEW.root_id),
            (SELECT batch_id FROM publish_tasks_archive WHERE job_id = NEW.root_id)
        ) END;
END;

-- A late result, or a person's decision.
CREATE TEMP TRIGGER publish_tasks_calls_again AFTER UPDATE OF status ON main.publish_tasks
WHEN NEW.callback_url IS NOT NULL AND NEW.status IS NOT OLD.status BEGIN
    INSERT INTO news_of_task VALUES (
        NEW.job_id, NEW.callback_url, NEW.status, OLD.status, NEW.platform, NEW.account_id, NEW.title, NEW.batch_id,
        NEW.retry_of, NEW.error_class, NEW.error_message, NEW.provider_post_id, NEW.publish_url, NEW.created_at,
        NEW.updated_at
    );
END;
CREATE TEMP TRIGGER publish_tasks_archive_calls_again AFTER UPDATE OF status ON main.publish_tasks_archive
WHEN NEW.callback_url IS NOT NULL AND NEW.status IS NOT OLD.status BEGIN
    INSERT INTO news_of_task VALUES (
        NEW.job_id, NEW.callback_url, NEW.status, OLD.status, NEW.platform, NEW.account_id, NEW.title, NEW.batch_id,
        NEW.retry_of, NEW.error_class, NEW.error_message, NEW.provider_post_id, NEW.publish_url, NEW.created_at,
        NEW.updated_at
    );
END;

-- The retry of an ended task is one more unfinished task of its batch.
CREATE TEMP TRIGGER task_queue_joins_batch AFTER INSERT ON main.task_queue
WHEN NEW.root_id IS NOT NULL AND NEW.callback_url IS NOT NULL BEGIN
    UPDATE batches SET unfinished = unfinished + 1
    WHERE callback_url IS NOT NULL
        AND batch_id = ifnull(
            (SELECT batch_id FROM publish_tasks WHERE job_id = NEW.root_id),
            (SELECT batch_id FROM publish_tasks_archive WHERE job_id = NEW.root_id)
        )
        AND NOT EXISTS (
            SELECT 1 FROM publish_tasks
            WHERE job_id = NEW.retry_of AND error_message = 'Superseded by its retry ' || NEW.task_id
        );
END;

-- The last unfinished task of a batch has ended. The newest task of each retry chain counts, also if it is archived. The
-- version before kept no items of a batch, so its tasks are found by its id.
CREATE TEMP TRIGGER batches_calls_back AFTER UPDATE OF unfinished ON main.batches
WHEN NEW.unfinished = 0 AND OLD.unfinished > 0 BEGIN
    UPDATE batches SET rounds = rounds + 1 WHERE batch_id = NEW.batch_id;
    INSERT INTO callback_due
    SELECT NEW.batch_id || '.' || (NEW.rounds + 1), NEW.callback_url, NEW.updated_at, '',
        json_object(
            'type', NEW.kind || '.' || outcome.status, 'timestamp', NEW.updated_at, 'data', json_object(
                'batch_id', NEW.batch_id, 'kind', NEW.kind, 'status', outcome.status, 'round', NEW.rounds + 1,
                'total', NEW.total, 'rejected', NEW.rejected, 'counts', json(outcome.counts),
                'created_at', NEW.created_at, 'ended_at', NEW.updated_at
            )
        )
    FROM (
        SELECT json_group_object(status, tasks) AS counts,
            CASE
                WHEN ifnull(sum(tasks) FILTER (WHERE status = 'success'), 0) = ifnull(sum(tasks), 0) + NEW.rejected THEN 'success'
                WHEN sum(tasks) FILTER (WHERE status = 'success') > 0 THEN 'partial'
                ELSE 'failed'
            END AS status
        FROM (
            SELECT newest.status, count(*) AS tasks
            FROM (
                SELECT coalesce(
                    (
                        SELECT h.status FROM publish_tasks AS h
                        WHERE h.root_id = first.task_id AND NOT EXISTS (
                            SELECT 1 FROM publish_tasks_archive AS a
                            WHERE a.root_id = first.task_id AND a.generation > h.generation
                        )
                        ORDER BY h.generation DESC LIMIT 1
                    ),
                    (
                        SELECT a.status FROM publish_tasks_archive AS a
                        WHERE a.root_id = first.task_id ORDER BY a.generation DESC LIMIT 1
                    ),
                    (SELECT h.status FROM publish_tasks AS h WHERE h.job_id = first.task_id),
                    (SELECT a.status FROM publish_tasks_archive AS a WHERE a.job_id = first.task_id)
                ) AS status
                FROM (
                    SELECT value ->> 'task_id' AS task_id FROM json_each(NEW.items)
                    UNION
                    SELECT job_id FROM publish_tasks WHERE batch_id = NEW.batch_id AND root_id IS NULL
                ) AS first
            ) AS newest
            WHERE newest.status IS NOT NULL
            GROUP BY 1
        )
    ) AS outcome;
END;
