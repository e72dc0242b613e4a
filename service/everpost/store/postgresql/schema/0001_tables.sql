-- needs: 1
-- Everpost's tables on PostgreSQL, with the names and columns of `schema.sql` (SQLite), so that tasks can be moved between
-- the two. What is only here is below an "added" line.
--
-- Ids and texts that are compared or ordered have the collation "C": byte order, whatever the database's locale is.
-- JSON of clients is text, not jsonb: jsonb would change its bytes, and refuses \u0000.
-- An index entry holds 2,700 bytes. So platform, account_id, batch_id and ids of other tasks are kept shortened: a job of a
-- stock arq client can have any text there. Its data has the whole text.
-- Times are texts, UTC, ISO 8601 with milliseconds and Z, so that they sort as in SQLite; rows of an original file hold
-- naive local times.

-- Ledger: one row per task that was accepted and has not ended. One statement moves a task from here to the history.
-- Rows inherited from an original file have no accepted_by, and never run unless they are retried.
--
-- A row is inserted, updated once or more (begin_send), and deleted within seconds; therefore:
-- - No value that an attempt changes (status, sending, attempts, due_at ...) is in an index, or in an index's WHERE:
--   then an update is HOT, that is, it writes no index. `promote_at` exists for this reason: it changes for scheduled
--   tasks only.
-- - fillfactor leaves room for the new version of every row on its own page, which HOT needs.
-- - Autovacuum starts after a fixed number of dead rows, because a share of the table says nothing: it is nearly empty
--   most of the time. It does not rest between pages, because dead rows slow down every claim.
-- - vacuum_truncate would take an exclusive lock to give the empty pages at the end back; they are needed again at once.
CREATE TABLE task_queue (
    task_id       text COLLATE "C" PRIMARY KEY,
    task_type     text NOT NULL DEFAULT 'publish',
    priority      integer DEFAULT 5,
    status        text COLLATE "C" DEFAULT 'pending',
    data          text,                                    -- the client's whole JSON object
    result        text,
    error_message text,
    retry_count   integer DEFAULT 0,                       -- attempts spent
    max_retries   integer DEFAULT 3,
    created_at    text COLLATE "C" DEFAULT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    started_at    text COLLATE "C",
    completed_at  text COLLATE "C",
    updated_at    text COLLATE "C" DEFAULT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    platform      text COLLATE "C",
    account_id    text COLLATE "C",
    title         text,
    due_at        text COLLATE "C",                        -- NULL: as soon as possible
    retry_of      text COLLATE "C",
    root_id       text COLLATE "C",
    generation    integer DEFAULT 0,
    batch_id      text COLLATE "C",
    attempts      text,                                    -- JSON list of the attempts made so far
    sending       integer,                                 -- the attempt whose first byte may have been sent (I6); 0: held since a restore
    sending_since text,                                    -- JSON: the host's time since its boot at that moment, if a key can expire
    accepted_by   text,
    -- added
    promote_at    text COLLATE "C" GENERATED ALWAYS AS (CASE WHEN status = 'scheduled' THEN due_at END) STORED,
    written_in    xid8 NOT NULL DEFAULT pg_current_xact_id() -- the transaction that accepted the task: the relay's order
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_insert_threshold = -1, -- each row is deleted soon
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 10000,
    toast.autovacuum_vacuum_cost_delay = 0, toast.vacuum_truncate = off
);
-- No plan depends on the long texts.
ALTER TABLE task_queue
    ALTER data SET STATISTICS 0, ALTER attempts SET STATISTICS 0, ALTER title SET STATISTICS 0,
    ALTER error_message SET STATISTICS 0, ALTER sending_since SET STATISTICS 0;
-- This index is I5: one unfinished task per retry chain, however many retries and processes there are.
CREATE UNIQUE INDEX task_queue_one_live_retry ON task_queue (coalesce(root_id, task_id)) WHERE accepted_by IS NOT NULL;
-- The next two are walked in the order of (column, task_id), but do not have the id: if they had, PostgreSQL would look ids
-- up in them, from end to end, with a plan that it made while the table was empty. Few rows share a transaction or a time,
-- and are sorted quickly.
CREATE INDEX task_queue_written ON task_queue (written_in) WHERE accepted_by IS NOT NULL;
CREATE INDEX task_queue_created ON task_queue (created_at);
-- The list of scheduled tasks, of which there may be many. Other statuses have no index: see above.
CREATE INDEX task_queue_scheduled ON task_queue (created_at, task_id) WHERE promote_at IS NOT NULL;
CREATE INDEX task_queue_local ON task_queue (created_at) WHERE right(created_at, 1) <> 'Z';
CREATE INDEX task_queue_promote ON task_queue (promote_at) WHERE promote_at IS NOT NULL;
CREATE INDEX task_queue_batch ON task_queue (batch_id, created_at, task_id) WHERE batch_id IS NOT NULL;
CREATE INDEX task_queue_retry ON task_queue (retry_of, created_at, task_id) WHERE retry_of IS NOT NULL;

-- People's decisions about tasks of unknown outcome, and about publishing a second time. They are never deleted.
CREATE TABLE decisions (
    decision_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id          text COLLATE "C" NOT NULL,
    decision         text COLLATE "C" NOT NULL,            -- succeeded | send_again
    status_before    text COLLATE "C" NOT NULL,
    decided_at       text COLLATE "C" NOT NULL,
    decided_by       text,
    why              text,
    provider_post_id text,
    publish_url      text,
    new_task_id      text COLLATE "C"                      -- of send_again
);
CREATE INDEX decisions_task ON decisions (task_id);
CREATE INDEX decisions_new_task ON decisions (new_task_id) WHERE new_task_id IS NOT NULL;

-- Answers that are repeated when an Idempotency-Key comes again; kept for EVERPOST_IDEMPOTENCY_HOURS of running time.
CREATE TABLE idempotency_keys (
    key         text COLLATE "C" PRIMARY KEY,
    fingerprint text COLLATE "C" NOT NULL,                 -- of the request's path and body
    task_id     text COLLATE "C" NOT NULL,                 -- or the batch's id
    created_at  text COLLATE "C" NOT NULL,
    answer      text NOT NULL,                             -- JSON: the whole body of the first answer
    counted_ms  bigint NOT NULL                            -- the running time at that moment (service/everpost/running_time.py)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX idempotency_keys_counted ON idempotency_keys (counted_ms);

-- Bulk requests that run in the background: their progress, and where they continue after a crash.
CREATE TABLE operations (
    operation_id text COLLATE "C" PRIMARY KEY,
    kind         text NOT NULL,                            -- retry | cancel | delete | archive
    request      text NOT NULL,                            -- JSON: the filter and options
    status       text COLLATE "C" NOT NULL,                -- running | done | failed
    total        bigint NOT NULL,
    done         bigint NOT NULL DEFAULT 0,
    succeeded    bigint NOT NULL DEFAULT 0,
    position     text,                                     -- cursor of the next chunk
    error        text,
    owner        text COLLATE "C",                         -- the process that works on it
    created_at   text COLLATE "C" NOT NULL,
    updated_at   text COLLATE "C" NOT NULL
);
CREATE INDEX operations_running ON operations (created_at) WHERE status = 'running';
CREATE TABLE operation_skips (
    operation_id text COLLATE "C" NOT NULL,
    task_id      text COLLATE "C" NOT NULL,
    reason       text NOT NULL,
    PRIMARY KEY (operation_id, task_id)
);

-- Values that all processes share; see `schema.sql`. They are few and change often, so each has room on its page.
CREATE TABLE everpost_meta (
    key   text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
) WITH (fillfactor = 50);
