-- needs: 3
-- The latest time to begin a task, edits of waiting tasks, and recurring posts; see `schema.sql`.

ALTER TABLE task_queue ADD late_at text COLLATE "C";

CREATE TABLE task_edits (
    edit_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id   text COLLATE "C" NOT NULL,
    edited_at text COLLATE "C" NOT NULL,
    edited_by text,
    why       text,
    patch     text NOT NULL,                               -- JSON merge patch of the task's data (RFC 7396)
    before    text NOT NULL                                -- JSON: the former values of the members that changed
);
CREATE INDEX task_edits_task ON task_edits (task_id);

CREATE TABLE recurring_posts (
    recurrence_id text COLLATE "C" PRIMARY KEY,
    name          text COLLATE "C" NOT NULL UNIQUE,
    version       bigint NOT NULL,                         -- counts changes; an occurrence is made of the newest version only
    status        text COLLATE "C" NOT NULL,               -- active | paused | ended
    reason        text,                                    -- why it was paused, unless a person did
    cron          text NOT NULL,
    timezone      text,                                    -- IANA name; NULL: the account's, or EVERPOST_TIMEZONE
    until_at      text COLLATE "C",                        -- no occurrence after this time
    task_data     text NOT NULL,                           -- the data of each task, without its time
    platform      text COLLATE "C" NOT NULL,
    account_id    text COLLATE "C" NOT NULL,
    next_at       text COLLATE "C",                        -- the next occurrence of which no task exists
    last_at       text COLLATE "C",                        -- the last occurrence of which a task was made
    last_task_id  text COLLATE "C",
    made          bigint NOT NULL DEFAULT 0,               -- tasks
    missed        bigint NOT NULL DEFAULT 0,               -- occurrences without a task, because of an outage
    created_at    text COLLATE "C" NOT NULL,
    updated_at    text COLLATE "C" NOT NULL
);
CREATE INDEX recurring_posts_next ON recurring_posts (next_at) WHERE status = 'active';
