-- needs: 1
-- The types in which the statements that each task needs take their rows: as an array of one of these, which costs half of what
-- JSON costs. A type never changes: a connection keeps what it knows of it. A row with more columns gets a new type.
-- `task_id` comes first. The collation is the one in which statements sort their rows.
CREATE TYPE everpost_accepted AS (
    task_id text COLLATE "C", priority integer, status text, task_data text, created_at text, platform text, account_id text,
    title text, due_at text, retry_of text, root_id text, generation integer, batch_id text, accepted_by text,
    callback_url text, late_at text
);
-- A request with an Idempotency-Key; its `task_id` is the key.
CREATE TYPE everpost_request AS (
    task_id text COLLATE "C", fingerprint text, accepted_id text, created_at text, answer text, kept_ms bigint,
    tasks everpost_accepted[]
);
CREATE TYPE everpost_intent AS (
    task_id text COLLATE "C", attempt integer, earlier integer, now text, since_boot text
);
CREATE TYPE everpost_ended AS (
    task_id text COLLATE "C", status text, finished_at text, queued_at text, started_at text, attempt text,
    error_class text, error_message text, result text, provider_post_id text, publish_url text, platform text,
    account_id text, material_id text, title text, tags text, cover text, schedule_time text, publish_mode text
);
-- As everpost_ended, with what is kept of a failure; the last two are NULL in other ends.
CREATE TYPE everpost_failed AS (
    task_id text COLLATE "C", status text, finished_at text, queued_at text, started_at text, attempt text,
    error_class text, error_message text, result text, provider_post_id text, publish_url text, platform text,
    account_id text, material_id text, title text, tags text, cover text, schedule_time text, publish_mode text,
    cause text, ended_s bigint
);
