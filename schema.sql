-- The tables of Everpost and their only definition: at start the live file is compared with this one, and what it lacks
-- is added (service/everpost/store/sqlite/schema/migrate.py). Nothing is ever removed. Names and columns of the original system are kept, so
-- that its files can be adopted in place; the columns below each "added" line are ours.
--
-- Times are UTC, ISO 8601 with milliseconds and Z; inherited rows hold naive local times.

-- History: one row a task that has ended, for ever.
CREATE TABLE publish_tasks (
    task_id             INTEGER PRIMARY KEY AUTOINCREMENT, -- a row number; the id callers know is job_id
    job_id              TEXT UNIQUE,                       -- celery_task_id in an original file
    plan_id             TEXT,
    package_id          INTEGER,
    platform            TEXT,
    account_id          TEXT,
    material_id         TEXT,                              -- the task's file_id
    title               TEXT,
    tags                TEXT,                              -- JSON list
    cover               TEXT,
    schedule_time       DATETIME,
    publish_mode        TEXT DEFAULT 'auto',
    status              TEXT DEFAULT 'pending',
    external_user_id    TEXT,
    external_account_id TEXT,
    result_metrics      TEXT,
    error_message       TEXT,
    created_at          DATETIME DEFAULT CURRENT_TIMESTAMP,
    updated_at          DATETIME DEFAULT CURRENT_TIMESTAMP,
    published_at        DATETIME,
    completed_at        DATETIME,
    task_data           TEXT,                              -- the client's whole JSON object
    priority            INTEGER DEFAULT 5,                 -- 0-9, lower is more urgent
    -- added
    celery_task_id      TEXT GENERATED ALWAYS AS (job_id) VIRTUAL,
    retry_of            TEXT,                              -- the task this one retries
    root_id             TEXT,                              -- the first task of the retry chain; NULL on that one
    generation          INTEGER DEFAULT 0,                 -- deliberate retries between the root and this task
    batch_id            TEXT,
    attempts            TEXT,                              -- JSON list: number, started_at, finished_at, outcome, ...
    error_class         TEXT,
    result              TEXT,                              -- JSON object of the publisher
    provider_post_id    TEXT,
    publish_url         TEXT,
    queued_at           TEXT,
    started_at          TEXT,
    raw_job             BLOB                               -- a stock arq client's message that no task data could be taken from
);
-- A list's order is (created_at, id), which a task keeps when it moves from the ledger to the history.
CREATE INDEX publish_tasks_created ON publish_tasks (created_at, job_id);
-- Local times of original files are out of that order; where none are near, a list need not look for them.
CREATE INDEX publish_tasks_local ON publish_tasks (created_at) WHERE substr(created_at, -1) <> 'Z';
CREATE INDEX publish_tasks_status ON publish_tasks (status, created_at, job_id);
-- The status in the middle: else the few failures of a large platform would be looked for among all it has. The platform
-- at the end: it is counted by the index alone how many of an account's tasks are of one.
CREATE INDEX publish_tasks_platform ON publish_tasks (platform, status, created_at, job_id);
CREATE INDEX publish_tasks_account ON publish_tasks (account_id, status, created_at, job_id, platform);
CREATE INDEX publish_tasks_error ON publish_tasks (error_class, created_at, job_id) WHERE error_class IS NOT NULL;
CREATE INDEX publish_tasks_batch ON publish_tasks (batch_id, created_at, job_id) WHERE batch_id IS NOT NULL;
CREATE INDEX publish_tasks_retry ON publish_tasks (retry_of, created_at, job_id) WHERE retry_of IS NOT NULL;
CREATE INDEX publish_tasks_chain ON publish_tasks (root_id) WHERE root_id IS NOT NULL;
-- When it ended; the original never set completed_at.
CREATE INDEX publish_tasks_ended ON publish_tasks (coalesce(completed_at, updated_at, created_at))
    WHERE status = 'success';

-- Ledger: one row a task that was accepted and has not ended. A row leaves it in the transaction that puts it into the
-- history. Rows inherited from an original file have no accepted_by, and are never run on their own.
CREATE TABLE task_queue (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id       TEXT UNIQUE NOT NULL,
    task_type     TEXT NOT NULL,
    priority      INTEGER DEFAULT 5,
    status        TEXT DEFAULT 'pending',
    data          TEXT,                                    -- the client's whole JSON object
    result        TEXT,
    error_message TEXT,
    retry_count   INTEGER DEFAULT 0,                       -- attempts spent
    max_retries   INTEGER DEFAULT 3,
    created_at    TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    started_at    TIMESTAMP,
    completed_at  TIMESTAMP,
    updated_at    TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    -- added
    platform      TEXT,
    account_id    TEXT,
    title         TEXT,
    due_at        TEXT,                                    -- NULL: as soon as possible
    retry_of      TEXT,
    root_id       TEXT,
    generation    INTEGER DEFAULT 0,
    batch_id      TEXT,
    attempts      TEXT,                                    -- JSON list of the attempts made so far
    sending       INTEGER,                                 -- the attempt whose first byte may have left (I6); 0: held since a restore
    sending_since TEXT,                                    -- JSON: the host's time since its boot then, where a key can expire
    accepted_by   TEXT
);
-- I5 is this index: one unfinished task a retry chain, whoever asks, however often, from however many processes.
CREATE UNIQUE INDEX task_queue_one_live_retry ON task_queue (ifnull(root_id, task_id)) WHERE accepted_by IS NOT NULL;
CREATE INDEX task_queue_created ON task_queue (created_at, task_id);
CREATE INDEX task_queue_local ON task_queue (created_at) WHERE substr(created_at, -1) <> 'Z';
-- Most rows are pending, and pay nothing for this one.
CREATE INDEX task_queue_status ON task_queue (status, created_at, task_id) WHERE status <> 'pending';
CREATE INDEX task_queue_scheduled ON task_queue (due_at) WHERE status = 'scheduled';
CREATE INDEX task_queue_batch ON task_queue (batch_id, created_at, task_id) WHERE batch_id IS NOT NULL;
CREATE INDEX task_queue_retry ON task_queue (retry_of, created_at, task_id) WHERE retry_of IS NOT NULL;

-- Where old and deleted tasks go; only `everpost purge` destroys.
CREATE TABLE publish_tasks_archive (
    task_id             INTEGER PRIMARY KEY,               -- the row number it had in publish_tasks
    job_id              TEXT,
    plan_id             TEXT,
    package_id          INTEGER,
    platform            TEXT,
    account_id          TEXT,
    material_id         TEXT,
    title               TEXT,
    tags                TEXT,
    cover               TEXT,
    schedule_time       DATETIME,
    publish_mode        TEXT,
    status              TEXT,
    external_user_id    TEXT,
    external_account_id TEXT,
    result_metrics      TEXT,
    error_message       TEXT,
    created_at          DATETIME,
    updated_at          DATETIME,
    published_at        DATETIME,
    completed_at        DATETIME,
    task_data           TEXT,
    priority            INTEGER,
    celery_task_id      TEXT GENERATED ALWAYS AS (job_id) VIRTUAL,
    retry_of            TEXT,
    root_id             TEXT,
    generation          INTEGER DEFAULT 0,
    batch_id            TEXT,
    attempts            TEXT,
    error_class         TEXT,
    result              TEXT,
    provider_post_id    TEXT,
    publish_url         TEXT,
    queued_at           TEXT,
    started_at          TEXT,
    archived_at         TEXT,
    archive_reason      TEXT,                              -- age | deleted
    raw_job             BLOB
);
CREATE INDEX publish_tasks_archive_job ON publish_tasks_archive (job_id);
CREATE INDEX publish_tasks_archive_chain ON publish_tasks_archive (root_id) WHERE root_id IS NOT NULL;
CREATE INDEX publish_tasks_archive_archived ON publish_tasks_archive (archived_at);

-- What people decided about tasks whose outcome nobody knew, and about publishing a second time; nothing ever deletes it.
CREATE TABLE decisions (
    decision_id      INTEGER PRIMARY KEY,
    task_id          TEXT NOT NULL,
    decision         TEXT NOT NULL,                        -- succeeded | send_again
    status_before    TEXT NOT NULL,
    decided_at       TEXT NOT NULL,
    decided_by       TEXT,
    why              TEXT,
    provider_post_id TEXT,
    publish_url      TEXT,
    new_task_id      TEXT                                  -- of send_again
);
CREATE INDEX decisions_task ON decisions (task_id);
CREATE INDEX decisions_new_task ON decisions (new_task_id) WHERE new_task_id IS NOT NULL;

-- Answers to repeat when an Idempotency-Key comes again; kept for EVERPOST_IDEMPOTENCY_HOURS of running time.
CREATE TABLE idempotency_keys (
    key         TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,                             -- of the request's path and body
    task_id     TEXT NOT NULL,                             -- or the batch's id
    created_at  TEXT NOT NULL,
    answer      TEXT NOT NULL DEFAULT '{}',                -- JSON: the whole body of the first answer
    counted_ms  INTEGER NOT NULL DEFAULT 0                 -- the running time then (service/everpost/running_time.py)
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_counted ON idempotency_keys (counted_ms);

-- Bulk work on more tasks than one answer waits for: its progress, and where it goes on after a crash.
CREATE TABLE operations (
    operation_id TEXT PRIMARY KEY,
    kind         TEXT NOT NULL,                            -- retry | cancel | delete | archive
    request      TEXT NOT NULL,                            -- JSON: the filter and options
    status       TEXT NOT NULL,                            -- running | done | failed
    total        INTEGER NOT NULL,
    done         INTEGER NOT NULL DEFAULT 0,
    succeeded    INTEGER NOT NULL DEFAULT 0,
    position     TEXT,                                     -- cursor of the next chunk
    error        TEXT,
    owner        TEXT,                                     -- the process at work on it
    created_at   TEXT NOT NULL,
    updated_at   TEXT NOT NULL
) WITHOUT ROWID;
-- They stay a week, and every few seconds each API looks for one that nobody is at work on.
CREATE INDEX operations_running ON operations (created_at) WHERE status = 'running';
CREATE TABLE operation_skips (
    operation_id TEXT NOT NULL,
    task_id      TEXT NOT NULL,
    reason       TEXT NOT NULL,
    PRIMARY KEY (operation_id, task_id)
) WITHOUT ROWID;

-- How many tasks there are by table, status and platform, kept by triggers, so that no count ever scans.
CREATE TABLE task_counts (
    source   TEXT NOT NULL,
    status   TEXT NOT NULL,
    platform TEXT NOT NULL,
    tasks    INTEGER NOT NULL,
    PRIMARY KEY (source, status, platform)
) WITHOUT ROWID;
CREATE TRIGGER publish_tasks_counted_in AFTER INSERT ON publish_tasks BEGIN
    INSERT INTO task_counts VALUES ('publish_tasks', ifnull(NEW.status, ''), ifnull(NEW.platform, ''), 1)
        ON CONFLICT DO UPDATE SET tasks = tasks + 1;
END;
CREATE TRIGGER publish_tasks_counted_out AFTER DELETE ON publish_tasks BEGIN
    UPDATE task_counts SET tasks = tasks - 1
        WHERE source = 'publish_tasks' AND status = ifnull(OLD.status, '') AND platform = ifnull(OLD.platform, '');
END;
CREATE TRIGGER publish_tasks_counted_move AFTER UPDATE OF status, platform ON publish_tasks BEGIN
    UPDATE task_counts SET tasks = tasks - 1
        WHERE source = 'publish_tasks' AND status = ifnull(OLD.status, '') AND platform = ifnull(OLD.platform, '');
    INSERT INTO task_counts VALUES ('publish_tasks', ifnull(NEW.status, ''), ifnull(NEW.platform, ''), 1)
        ON CONFLICT DO UPDATE SET tasks = tasks + 1;
END;
CREATE TRIGGER task_queue_counted_in AFTER INSERT ON task_queue BEGIN
    INSERT INTO task_counts VALUES ('task_queue', ifnull(NEW.status, ''), ifnull(NEW.platform, ''), 1)
        ON CONFLICT DO UPDATE SET tasks = tasks + 1;
END;
CREATE TRIGGER task_queue_counted_out AFTER DELETE ON task_queue BEGIN
    UPDATE task_counts SET tasks = tasks - 1
        WHERE source = 'task_queue' AND status = ifnull(OLD.status, '') AND platform = ifnull(OLD.platform, '');
END;
CREATE TRIGGER task_queue_counted_move AFTER UPDATE OF status, platform ON task_queue BEGIN
    UPDATE task_counts SET tasks = tasks - 1
        WHERE source = 'task_queue' AND status = ifnull(OLD.status, '') AND platform = ifnull(OLD.platform, '');
    INSERT INTO task_counts VALUES ('task_queue', ifnull(NEW.status, ''), ifnull(NEW.platform, ''), 1)
        ON CONFLICT DO UPDATE SET tasks = tasks + 1;
END;

-- What the processes remember together: `epoch` (which Redis it was), `searched` (how far the search index has come),
-- `paused` (dispatch is, since a backup was restored), `clock` and `counted_ms` (the time Everpost has run).
CREATE TABLE everpost_meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Full text of title, error and payload, filled behind the hot path; rowid is publish_tasks.task_id. The text is cut into
-- words before it comes here, each Chinese, Japanese or Korean character a word of its own (service/everpost/store/sqlite/lists/search.py).
CREATE VIRTUAL TABLE publish_tasks_search USING fts5 (
    text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
