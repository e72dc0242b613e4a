-- needs: 2
-- A task that ends writes fewer and smaller indexes of the history, and lists follow one walk of an index where they had
-- one for each status. Version 2 of the code finds the same tasks with them, more slowly in some lists.

-- Lists are ordered by (created_at, id). A status is looked for within an index, if most tasks have it; few tasks have
-- another one than success, and only they are in an index by status.
CREATE INDEX publish_tasks_newest ON publish_tasks (created_at, job_id, status);
CREATE INDEX publish_tasks_of_platform ON publish_tasks (platform, created_at, job_id, status);
CREATE INDEX publish_tasks_of_account ON publish_tasks (account_id, created_at, job_id, status, platform);
CREATE INDEX publish_tasks_otherwise ON publish_tasks (status, created_at, job_id) WHERE status <> 'success';
DROP INDEX publish_tasks_created, publish_tasks_platform, publish_tasks_account, publish_tasks_status;
-- Of two indexes that seem to cost the same, as all do while a month is empty, PostgreSQL takes the one that was made last:
-- it must be the narrower one.
DROP INDEX publish_tasks_error, publish_tasks_batch, publish_tasks_retry;
CREATE INDEX publish_tasks_error ON publish_tasks (error_class, created_at, job_id) WHERE error_class IS NOT NULL;
CREATE INDEX publish_tasks_batch ON publish_tasks (batch_id, created_at, job_id) WHERE batch_id IS NOT NULL;
CREATE INDEX publish_tasks_retry ON publish_tasks (retry_of, created_at, job_id) WHERE retry_of IS NOT NULL;

-- The words of a task are removed when it leaves the history. A process that adds words holds this lock too, so it cannot
-- add those of a task that it still sees, and that has left.
CREATE OR REPLACE FUNCTION everpost_forget_searched() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(4918270015);
    DELETE FROM publish_tasks_search WHERE job_id = ANY (ARRAY(SELECT job_id FROM removed));
    RETURN NULL;
END $$;
