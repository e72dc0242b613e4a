-- needs: 1
-- Who handed a task in; see `schema.sql`. A retry has the name of the original.
ALTER TABLE task_queue ADD COLUMN submitted_by text;
ALTER TABLE publish_tasks ADD COLUMN submitted_by text;
ALTER TABLE publish_tasks_archive ADD COLUMN submitted_by text;

-- As everpost_accepted and everpost_request, with that name; see 0015_row_types.sql.
CREATE TYPE everpost_accepted_by AS (
    task_id text COLLATE "C", priority integer, status text, task_data text, created_at text, platform text, account_id text,
    title text, due_at text, retry_of text, root_id text, generation integer, batch_id text, accepted_by text,
    callback_url text, late_at text, submitted_by text
);
CREATE TYPE everpost_request_by AS (
    task_id text COLLATE "C", fingerprint text, accepted_id text, created_at text, answer text, kept_ms bigint,
    tasks everpost_accepted_by[]
);
