-- The only definition of Everpost's tables. Each start compares the live file with this one and adds what is missing
-- (service/everpost/store/sqlite/schema/migrate.py). No table or column is ever removed. The original system's names and
-- columns are kept, so that its files can be adopted in place; columns below an "added" line are Everpost's.
--
-- Times are UTC, ISO 8601 with milliseconds and Z; inherited rows hold naive local times.

-- History: one row per task that has ended, for ever.
CREATE TABLE publish_tasks (
    task_id             INTEGER PRIMARY KEY AUTOINCREMENT, -- a row number; callers use job_id
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
    root_id             TEXT,                              -- the first task of the retry chain; NULL in that task
    generation          INTEGER DEFAULT 0,                 -- number of retries between the root and this task
    batch_id            TEXT,
    attempts            TEXT,                              -- JSON list: number, started_at, finished_at, outcome, ...
    error_class         TEXT,
    result              TEXT,                              -- JSON object of the publisher
    provider_post_id    TEXT,
    publish_url         TEXT,
    queued_at           TEXT,
    started_at          TEXT,
    raw_job             BLOB,                              -- a stock arq client's message without readable task data
    checkpoint          TEXT,                              -- JSON: the publisher's last one
    checkpoint_attempt  INTEGER,                           -- the attempt that saved it
    callback_url        TEXT,                              -- told of its end; '': only its batch counts it
    submitted_by        TEXT                               -- the caller's name; of a retry, the original's
);
-- Lists are ordered by (created_at, id). A task keeps both when it moves from the ledger to the history.
CREATE INDEX publish_tasks_created ON publish_tasks (created_at, job_id);
-- Local times of original files do not fit into that order. This index shows a list that none are near.
CREATE INDEX publish_tasks_local ON publish_tasks (created_at) WHERE substr(created_at, -1) <> 'Z';
CREATE INDEX publish_tasks_status ON publish_tasks (status, created_at, job_id);
-- The status comes second, so that the few failures of a large platform are found without reading all its tasks. The
-- account's index ends with the platform, so that an account's tasks per platform are counted from the index alone.
CREATE INDEX publish_tasks_platform ON publish_tasks (platform, status, created_at, job_id);
CREATE INDEX publish_tasks_account ON publish_tasks (account_id, status, created_at, job_id, platform);
CREATE INDEX publish_tasks_error ON publish_tasks (error_class, created_at, job_id) WHERE error_class IS NOT NULL;
CREATE INDEX publish_tasks_batch ON publish_tasks (batch_id, created_at, job_id) WHERE batch_id IS NOT NULL;
CREATE INDEX publish_tasks_retry ON publish_tasks (retry_of, created_at, job_id) WHERE retry_of IS NOT NULL;
CREATE INDEX publish_tasks_chain ON publish_tasks (root_id) WHERE root_id IS NOT NULL;
-- The time a task ended. The original never set completed_at.
CREATE INDEX publish_tasks_ended ON publish_tasks (coalesce(completed_at, updated_at, created_at))
    WHERE status = 'success';

-- Ledger: one row per task that was accepted and has not ended. One transaction moves a task from here to the history.
-- Rows inherited from an original file have no accepted_by, and never run unless they are retried.
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
    sending       INTEGER,                                 -- the attempt whose first byte may have been sent (I6); 0: held since a restore
    sending_since TEXT,                                    -- JSON: the host's time since its boot at that moment, if a key can expire
    accepted_by   TEXT,
    submitted_by  TEXT,                                    -- the caller's name; of a retry, the original's
    checkpoint    TEXT,                                    -- JSON: the publisher's last one, for the next attempt
    checkpoint_attempt INTEGER,                            -- the attempt that saved it; an earlier one cannot any more
    callback_url  TEXT,
    late_at       TEXT                                     -- the latest time to begin; NULL: no limit
);
-- This index is I5: one unfinished task per retry chain, however many retries and processes there are.
CREATE UNIQUE INDEX task_queue_one_live_retry ON task_queue (ifnull(root_id, task_id)) WHERE accepted_by IS NOT NULL;
CREATE INDEX task_queue_created ON task_queue (created_at, task_id);
CREATE INDEX task_queue_local ON task_queue (created_at) WHERE substr(created_at, -1) <> 'Z';
-- Most rows are pending, and cost nothing here.
CREATE INDEX task_queue_status ON task_queue (status, created_at, task_id) WHERE status <> 'pending';
CREATE INDEX task_queue_scheduled ON task_queue (due_at) WHERE status = 'scheduled';
CREATE INDEX task_queue_batch ON task_queue (batch_id, created_at, task_id) WHERE batch_id IS NOT NULL;
CREATE INDEX task_queue_retry ON task_queue (retry_of, created_at, task_id) WHERE retry_of IS NOT NULL;

-- Archive: old and deleted tasks. Only `everpost purge` destroys tasks.
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
    raw_job             BLOB,
    checkpoint          TEXT,
    checkpoint_attempt  INTEGER,
    callback_url        TEXT,
    submitted_by        TEXT
);
CREATE INDEX publish_tasks_archive_job ON publish_tasks_archive (job_id);
CREATE INDEX publish_tasks_archive_chain ON publish_tasks_archive (root_id) WHERE root_id IS NOT NULL;
CREATE INDEX publish_tasks_archive_archived ON publish_tasks_archive (archived_at);

-- Media: one row per file that tasks can name by its file_id. `POST /files` adds them; those of an original file are kept
-- with their numbers as file_ids.
CREATE TABLE file_records (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    filename      TEXT,
    filesize      REAL,                                    -- in megabytes, as the original counts
    file_path     TEXT,                                    -- relative to the root
    upload_time   DATETIME DEFAULT CURRENT_TIMESTAMP,
    status        TEXT DEFAULT 'pending',                  -- pending | published
    published_at  DATETIME,                                -- when a task with it succeeded last
    last_platform TEXT,
    last_accounts TEXT,                                    -- JSON list
    title         TEXT,
    description   TEXT,
    tags          TEXT,
    cover_image   TEXT,
    duration      REAL,                                    -- in seconds
    -- added
    file_id       TEXT UNIQUE,
    root          TEXT,                                    -- NULL: EVERPOST_MEDIA; 'uploads': EVERPOST_FILES; or of file_roots
    size_bytes    INTEGER,
    sha256        TEXT,
    content_type  TEXT,
    width         INTEGER,
    height        INTEGER,
    changed_ns    INTEGER,                                 -- the file's time of change when its digest was made
    created_at    TEXT,
    used_at       TEXT,                                    -- when a task that names it ended last
    submitted_by  TEXT                                     -- the name of the caller that uploaded it
);
CREATE INDEX file_records_root ON file_records (root, size_bytes) WHERE root IS NOT NULL;
CREATE UNIQUE INDEX file_records_place ON file_records (root, file_path) WHERE root IS NOT NULL;
CREATE INDEX file_records_unused ON file_records (ifnull(used_at, created_at)) WHERE root = 'uploads';
CREATE INDEX file_records_inherited ON file_records (id) WHERE created_at IS NULL;

-- Folders whose files have records, by name.
CREATE TABLE file_roots (
    name   TEXT PRIMARY KEY,
    folder TEXT NOT NULL
) WITHOUT ROWID;

-- Uploads that are not complete. How far each came is the size of its file.
CREATE TABLE file_uploads (
    file_id    TEXT PRIMARY KEY,
    filename   TEXT NOT NULL,
    size_bytes INTEGER,                                    -- NULL: not known yet
    metadata   TEXT NOT NULL DEFAULT '',                   -- of the client, see tus.io
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    submitted_by TEXT                                      -- the name of the caller that began it
) WITHOUT ROWID;
CREATE INDEX file_uploads_expires ON file_uploads (expires_at);

-- Which task names which file. A row is written with the task, and removed after the task's end.
CREATE TABLE file_uses (
    file_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    PRIMARY KEY (file_id, task_id)
) WITHOUT ROWID;
CREATE INDEX file_uses_task ON file_uses (task_id);

-- People's decisions about tasks of unknown outcome, and about publishing a second time. They are never deleted.
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

-- What people changed in waiting tasks. `everpost purge` destroys it with the task.
CREATE TABLE task_edits (
    edit_id   INTEGER PRIMARY KEY,
    task_id   TEXT NOT NULL,
    edited_at TEXT NOT NULL,
    edited_by TEXT,
    why       TEXT,
    patch     TEXT NOT NULL,                               -- JSON merge patch of the task's data (RFC 7396)
    before    TEXT NOT NULL                                -- JSON: the former values of the members that changed
);
CREATE INDEX task_edits_task ON task_edits (task_id);

-- The W3C trace contexts of tasks that were accepted while traces were on: `traceparent`, and behind a space `tracestate`.
-- `everpost purge` destroys them with the tasks.
CREATE TABLE task_traces (
    task_id TEXT PRIMARY KEY,
    context TEXT,                                          -- that of the span that made the task
    origin  TEXT                                           -- of a retry: that of the task that it retries
) WITHOUT ROWID;

-- Posts that are made again and again, by a cron expression. Each occurrence is a task with the id of its recurrence as
-- its batch_id.
CREATE TABLE recurring_posts (
    recurrence_id TEXT PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    version       INTEGER NOT NULL,                        -- counts changes; an occurrence is made of the newest version only
    status        TEXT NOT NULL,                           -- active | paused | ended
    reason        TEXT,                                    -- why it was paused, unless a person did
    cron          TEXT NOT NULL,
    timezone      TEXT,                                    -- IANA name; NULL: the account's, or EVERPOST_TIMEZONE
    until_at      TEXT,                                    -- no occurrence after this time
    task_data     TEXT NOT NULL,                           -- the data of each task, without its time
    platform      TEXT NOT NULL,
    account_id    TEXT NOT NULL,
    next_at       TEXT,                                    -- the next occurrence of which no task exists
    last_at       TEXT,                                    -- the last occurrence of which a task was made
    last_task_id  TEXT,
    made          INTEGER NOT NULL DEFAULT 0,              -- tasks
    missed        INTEGER NOT NULL DEFAULT 0,              -- occurrences without a task, because of an outage
    created_at    TEXT NOT NULL,
    updated_at    TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX recurring_posts_next ON recurring_posts (next_at) WHERE status = 'active';

-- Answers that are repeated when an Idempotency-Key comes again; kept for EVERPOST_IDEMPOTENCY_HOURS of running time.
CREATE TABLE idempotency_keys (
    key         TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,                             -- of the request's path and body
    task_id     TEXT NOT NULL,                             -- or the batch's id
    created_at  TEXT NOT NULL,
    answer      TEXT NOT NULL DEFAULT '{}',                -- JSON: the whole body of the first answer
    counted_ms  INTEGER NOT NULL DEFAULT 0                 -- the running time at that moment (service/everpost/running_time.py)
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_counted ON idempotency_keys (counted_ms);

-- Fan-outs (one content for many accounts), and batches with a callback. `everpost purge` destroys them with their last task.
CREATE TABLE batches (
    batch_id     TEXT PRIMARY KEY,
    kind         TEXT NOT NULL,                            -- fanout | batch
    items        TEXT,                                     -- JSON list, an object for each account of a fan-out, or each task
    created_at   TEXT NOT NULL,
    updated_at   TEXT,                                     -- when the last of its tasks ended
    callback_url TEXT,                                     -- told when all tasks have ended
    total        INTEGER NOT NULL DEFAULT 0,               -- accounts or items, rejected ones too
    rejected     INTEGER NOT NULL DEFAULT 0,
    unfinished   INTEGER NOT NULL DEFAULT 0,               -- tasks without an end; counted only if there is a callback_url
    rounds       INTEGER NOT NULL DEFAULT 0                -- how often all tasks had ended
);

-- What was posted a short time ago to the accounts of platforms with a duplicate guard. Rows go once their window has ended.
CREATE TABLE recent_posts (
    digest   TEXT NOT NULL,                                -- of the account and the content
    task_id  TEXT NOT NULL,
    at_ms    INTEGER NOT NULL,                             -- when it was to be posted
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (digest, task_id)
) WITHOUT ROWID;
CREATE INDEX recent_posts_until ON recent_posts (until_ms);

-- Bulk requests that run in the background: their progress, and where they continue after a crash.
CREATE TABLE operations (
    operation_id TEXT PRIMARY KEY,
    kind         TEXT NOT NULL,                            -- retry | cancel | delete | archive | edit | undo
    request      TEXT NOT NULL,                            -- JSON: the filter and options
    status       TEXT NOT NULL,                            -- running | done | failed
    total        INTEGER NOT NULL,
    done         INTEGER NOT NULL DEFAULT 0,
    succeeded    INTEGER NOT NULL DEFAULT 0,
    position     TEXT,                                     -- cursor of the next chunk
    error        TEXT,
    owner        TEXT,                                     -- the process that works on it
    created_at   TEXT NOT NULL,
    updated_at   TEXT NOT NULL,
    undoes       TEXT                                      -- the operation that it undoes
) WITHOUT ROWID;
-- Operations are kept for a week. Every few seconds, each API looks for one whose process has died.
CREATE INDEX operations_running ON operations (created_at) WHERE status = 'running';
-- begin_operation.sql sees to it that an operation is undone once. The version before would remove a UNIQUE index that it does
-- not know.
CREATE INDEX operations_undoes ON operations (undoes);
CREATE TABLE operation_skips (
    operation_id TEXT NOT NULL,
    task_id      TEXT NOT NULL,
    reason       TEXT NOT NULL,
    PRIMARY KEY (operation_id, task_id)
) WITHOUT ROWID;
-- The tasks that an operation has cancelled or removed, so that it can be undone.
CREATE TABLE operation_tasks (
    operation_id TEXT NOT NULL,
    task_id      TEXT NOT NULL,
    PRIMARY KEY (operation_id, task_id)
) WITHOUT ROWID;

-- Limits and pauses that people set at run time.
CREATE TABLE limits (
    scope      TEXT PRIMARY KEY,                           -- *, PLATFORM, /PLATFORM (each of its accounts), PLATFORM/ACCOUNT
    value      TEXT NOT NULL,                              -- JSON: limits, hold
    updated_at TEXT NOT NULL
) WITHOUT ROWID;
-- When attempts began that have a rate, a gap or a daily limit. After Redis was emptied, it is told from here.
CREATE TABLE limit_uses (
    used_at TEXT NOT NULL,
    task_id TEXT NOT NULL,
    lane    TEXT NOT NULL,                                 -- PLATFORM/ACCOUNT
    PRIMARY KEY (used_at, task_id)
) WITHOUT ROWID;
-- Until when a platform or account takes no task, because the platform answered "too fast".
CREATE TABLE limit_closures (
    scope        TEXT PRIMARY KEY,
    closed_until TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX limit_closures_until ON limit_closures (closed_until);

-- Numbers of tasks by table, status and platform. Triggers keep them, so that counting never scans a table.
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

-- Failed tasks of the history with the cause of their errors (service/everpost/task/failure_cause.py). A task's row is written
-- with its end, and goes when the task leaves the history or turns out to have succeeded. Upkeep adds what is missing.
CREATE TABLE failures (
    task_id    TEXT PRIMARY KEY,
    cause      TEXT NOT NULL,
    platform   TEXT NOT NULL,
    account_id TEXT NOT NULL,
    created_at TEXT,                                       -- as in the history
    ended_s    INTEGER NOT NULL                            -- Unix time
) WITHOUT ROWID;
CREATE INDEX failures_cause ON failures (cause, created_at, task_id, platform, account_id);
CREATE TABLE failure_causes (
    cause       TEXT PRIMARY KEY,
    error_class TEXT,
    text        TEXT NOT NULL
) WITHOUT ROWID;
-- Numbers of failures by slices of 5 minutes, an hour and a day; triggers keep them. Care.forget_expired has for how long.
-- With an empty cause, platform and account: those of all groups.
CREATE TABLE failure_counts (
    slice_s    INTEGER NOT NULL,                           -- 300, 3600 or 86400
    began_s    INTEGER NOT NULL,                           -- Unix time
    cause      TEXT NOT NULL,
    platform   TEXT NOT NULL,
    account_id TEXT NOT NULL,
    tasks      INTEGER NOT NULL,
    first_s    INTEGER,
    last_s     INTEGER,
    sample     TEXT,                                       -- the task that failed last
    PRIMARY KEY (slice_s, began_s, cause, platform, account_id)
) WITHOUT ROWID;
CREATE TRIGGER failures_in AFTER INSERT ON failures BEGIN
    INSERT INTO failure_counts
    SELECT value, NEW.ended_s / value * value, cause, platform, account_id, 1, NEW.ended_s, NEW.ended_s, NEW.task_id
    FROM json_each('[300,3600,86400]') CROSS JOIN (
        SELECT NEW.cause AS cause, NEW.platform AS platform, NEW.account_id AS account_id UNION ALL SELECT '', '', ''
    )
    WHERE true
    ON CONFLICT DO UPDATE SET tasks = tasks + 1, first_s = min(ifnull(first_s, excluded.first_s), excluded.first_s),
        sample = iif(excluded.last_s >= ifnull(last_s, 0), excluded.sample, sample),
        last_s = max(ifnull(last_s, 0), excluded.last_s);
END;
CREATE TRIGGER failures_out AFTER DELETE ON failures BEGIN
    UPDATE failure_counts SET tasks = tasks - 1
    WHERE (slice_s, began_s) IN (SELECT value, OLD.ended_s / value * value FROM json_each('[300,3600,86400]'))
        AND (cause, platform, account_id) IN (VALUES (OLD.cause, OLD.platform, OLD.account_id), ('', '', ''));
END;
CREATE TRIGGER publish_tasks_failure_left AFTER DELETE ON publish_tasks WHEN OLD.status = 'failed' BEGIN
    DELETE FROM failures WHERE task_id = OLD.job_id;
END;
CREATE TRIGGER publish_tasks_failure_undone AFTER UPDATE OF status ON publish_tasks
WHEN OLD.status = 'failed' AND NEW.status IS NOT 'failed' BEGIN
    DELETE FROM failures WHERE task_id = OLD.job_id;
END;

-- What ended in each minute, how long it had waited and how long attempts took, as JSON (service/everpost/store/timeline.py).
CREATE TABLE timeline (
    began_s INTEGER PRIMARY KEY,                           -- Unix time
    counts  TEXT NOT NULL
);

-- Accounts that people registered. `credentials` has references to environment variables and files of the workers, and
-- `tokens` is encrypted (service/everpost/credentials/vault.py), so the table holds no secret that can be read. Original
-- files may have a table `accounts` of another program.
CREATE TABLE publish_accounts (
    platform        TEXT NOT NULL,
    account_id      TEXT NOT NULL,
    title           TEXT NOT NULL DEFAULT '',
    options         TEXT NOT NULL DEFAULT '{}',            -- JSON object for the publisher; not secret
    credentials     TEXT NOT NULL DEFAULT '{}',            -- JSON object: references by name
    timezone        TEXT,                                  -- IANA name
    status          TEXT NOT NULL,                         -- active | paused | held | blocked
    reason          TEXT,
    since           TEXT,
    tokens          TEXT,                                  -- rotated tokens, encrypted
    tokens_at       TEXT,
    revision        INTEGER NOT NULL DEFAULT 0,            -- changes by people
    locked_by       TEXT,                                  -- the attempt that may rotate the tokens,
    locked_until_ms INTEGER,                               -- until then
    test            TEXT,                                  -- JSON object: the last test
    created_at      TEXT NOT NULL,
    updated_at      TEXT NOT NULL,
    PRIMARY KEY (platform, account_id)
) WITHOUT ROWID;

-- API keys. `digest` is the SHA-256 of a random secret of 256 bits, so the table holds nothing that lets in. Rows stay.
CREATE TABLE api_keys (
    key_id       TEXT PRIMARY KEY,
    name         TEXT NOT NULL,                            -- several keys may have one, while one replaces another
    role         TEXT NOT NULL,                            -- viewer | publisher | operator | admin
    prefix       TEXT NOT NULL,                            -- the first characters, which people see
    digest       TEXT NOT NULL UNIQUE,
    scope        TEXT NOT NULL,                            -- JSON object: platforms, accounts; empty: everything
    rate         TEXT,                                     -- JSON object: count, per_s; NULL: no limit
    created_at   TEXT NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   TEXT,
    revoked_at   TEXT,
    revoked_by   TEXT,
    last_used_at TEXT                                      -- written at most once a minute
) WITHOUT ROWID;

-- Sessions of the console, by the digest of the cookie. They are few, and go once they have expired.
CREATE TABLE sessions (
    digest     TEXT PRIMARY KEY,
    key_id     TEXT,                                       -- NULL: begun with EVERPOST_TOKEN, or by OpenID Connect
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    seen_at    TEXT NOT NULL
) WITHOUT ROWID;

-- Who did what: one row for each change that a person or client asked for. Rows are only added; see docs/audit.md.
CREATE TABLE audit_log (
    audit_id TEXT PRIMARY KEY,                             -- UUIDv7, so rows are in the order of their time
    at       TEXT NOT NULL,
    who      TEXT NOT NULL,                                -- a key's name, or token, anonymous, a user of the system
    role     TEXT NOT NULL,
    key_id   TEXT,
    action   TEXT NOT NULL,
    how      TEXT NOT NULL,                                -- api | console | command
    address  TEXT,
    target   TEXT,                                         -- a task, an operation, PLATFORM/ACCOUNT, or other
    why      TEXT,
    details  TEXT NOT NULL,                                -- JSON object
    outcome  TEXT NOT NULL                                 -- ok, or the code of an error
) WITHOUT ROWID;
CREATE INDEX audit_log_target ON audit_log (target, audit_id) WHERE target IS NOT NULL;
CREATE TRIGGER audit_log_unchanged BEFORE UPDATE ON audit_log BEGIN
    SELECT RAISE(ABORT, 'audit_log: rows are only added');
END;
CREATE TRIGGER audit_log_kept BEFORE DELETE ON audit_log
WHEN OLD.at >= ifnull((SELECT value FROM everpost_meta WHERE key = 'audit_purging'), '') BEGIN
    SELECT RAISE(ABORT, 'audit_log: rows are only added');
END;

-- Values that all processes share: `epoch` (identifies the Redis), `searched` (the last row in the search index),
-- `paused` (present while dispatch is paused after a restore), `accounts` and `keys` (change with them), `clock` and `counted_ms` (the time Everpost has run).
CREATE TABLE everpost_meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Full-text index of title, error and data, filled in the background; rowid is publish_tasks.task_id. The text is split
-- into words beforehand, with each Chinese, Japanese or Korean character as one word
-- (service/everpost/store/sqlite/lists/search.py).
CREATE VIRTUAL TABLE publish_tasks_search USING fts5 (
    text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
