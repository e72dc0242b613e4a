-- needs: 1
-- Tables of ended tasks, of their counts, and of the search.

-- History: one row per task that has ended, for ever. Partitioned by id: a UUIDv7 begins with its time, so a month of
-- tasks is one range of ids. Upkeep makes a month's partition before the month begins.
--
-- Other ids (of stock arq clients, of an original file) have partitions of their own, below and above the UUIDv7 ids of
-- 2024 to 2074. The default partition takes rows without an id, and ids of months without a partition. It is nearly
-- empty, which matters: PostgreSQL reads it whole, under an exclusive lock, when a month is added.
CREATE TABLE publish_tasks (
    job_id              text COLLATE "C" UNIQUE,           -- NULL only in rows of an original file
    plan_id             text,
    package_id          bigint,
    platform            text COLLATE "C",
    account_id          text COLLATE "C",
    material_id         text,                              -- the task's file_id
    title               text,
    tags                text,                              -- JSON list
    cover               text,
    schedule_time       text,
    publish_mode        text DEFAULT 'auto',
    status              text COLLATE "C" DEFAULT 'pending',
    external_user_id    text,
    external_account_id text,
    result_metrics      text,
    error_message       text,
    created_at          text COLLATE "C" DEFAULT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    updated_at          text COLLATE "C" DEFAULT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    published_at        text COLLATE "C",
    completed_at        text COLLATE "C",
    task_data           text,                              -- the client's whole JSON object
    priority            integer DEFAULT 5,                 -- 0-9, lower is more urgent
    retry_of            text COLLATE "C",                  -- the task this one retries
    root_id             text COLLATE "C",                  -- the first task of the retry chain; NULL in that task
    generation          integer DEFAULT 0,                 -- number of retries between the root and this task
    batch_id            text COLLATE "C",
    attempts            text,                              -- JSON list: number, started_at, finished_at, outcome, ...
    error_class         text COLLATE "C",
    result              text,                              -- JSON object of the publisher
    provider_post_id    text,
    publish_url         text,
    queued_at           text COLLATE "C",
    started_at          text COLLATE "C",
    raw_job             bytea                              -- a stock arq client's message without readable task data
) PARTITION BY RANGE (job_id);
CREATE TABLE publish_tasks_below PARTITION OF publish_tasks FOR VALUES FROM (MINVALUE) TO ('018cc251f400');
CREATE TABLE publish_tasks_above PARTITION OF publish_tasks FOR VALUES FROM ('03') TO (MAXVALUE);
CREATE TABLE publish_tasks_default PARTITION OF publish_tasks DEFAULT;
-- A task that ends writes each index, so they are few and small.
CREATE INDEX publish_tasks_local ON publish_tasks (created_at) WHERE right(created_at, 1) <> 'Z';
CREATE INDEX publish_tasks_chain ON publish_tasks (root_id) WHERE root_id IS NOT NULL;
CREATE INDEX publish_tasks_ended ON publish_tasks (coalesce(completed_at, updated_at, created_at)) WHERE status = 'success';
CREATE INDEX publish_tasks_ended_otherwise ON publish_tasks (coalesce(completed_at, updated_at, created_at))
    WHERE status <> 'success';
-- Lists are ordered by (created_at, id). A task keeps both when it moves from the ledger to the history. Most tasks have the
-- status success, which is checked within an index; only the few others are in an index by status.
CREATE INDEX publish_tasks_newest ON publish_tasks (created_at, job_id, status);
CREATE INDEX publish_tasks_of_platform ON publish_tasks (platform, created_at, job_id, status);
CREATE INDEX publish_tasks_of_account ON publish_tasks (account_id, created_at, job_id, status, platform);
CREATE INDEX publish_tasks_otherwise ON publish_tasks (status, created_at, job_id) WHERE status <> 'success';
-- Of two indexes that seem to cost the same, as all do while a month is empty, PostgreSQL takes the one that was made last:
-- it must be the narrower one. Therefore these come last.
CREATE INDEX publish_tasks_error ON publish_tasks (error_class, created_at, job_id) WHERE error_class IS NOT NULL;
CREATE INDEX publish_tasks_batch ON publish_tasks (batch_id, created_at, job_id) WHERE batch_id IS NOT NULL;
CREATE INDEX publish_tasks_retry ON publish_tasks (retry_of, created_at, job_id) WHERE retry_of IS NOT NULL;

-- Archive: old and deleted tasks. Only `everpost purge` destroys tasks. One id can be here twice.
CREATE TABLE publish_tasks_archive (
    archived_row        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id              text COLLATE "C",
    plan_id             text,
    package_id          bigint,
    platform            text COLLATE "C",
    account_id          text COLLATE "C",
    material_id         text,
    title               text,
    tags                text,
    cover               text,
    schedule_time       text,
    publish_mode        text,
    status              text COLLATE "C",
    external_user_id    text,
    external_account_id text,
    result_metrics      text,
    error_message       text,
    created_at          text COLLATE "C",
    updated_at          text COLLATE "C",
    published_at        text COLLATE "C",
    completed_at        text COLLATE "C",
    task_data           text,
    priority            integer,
    retry_of            text COLLATE "C",
    root_id             text COLLATE "C",
    generation          integer DEFAULT 0,
    batch_id            text COLLATE "C",
    attempts            text,
    error_class         text COLLATE "C",
    result              text,
    provider_post_id    text,
    publish_url         text,
    queued_at           text COLLATE "C",
    started_at          text COLLATE "C",
    archived_at         text COLLATE "C",
    archive_reason      text,                              -- age | deleted
    raw_job             bytea
);
CREATE INDEX publish_tasks_archive_job ON publish_tasks_archive (job_id);
CREATE INDEX publish_tasks_archive_chain ON publish_tasks_archive (root_id) WHERE root_id IS NOT NULL;
CREATE INDEX publish_tasks_archive_archived ON publish_tasks_archive (archived_at);

-- Full-text search: the words of title, error and data of each ended task, without case, width or accents, and with a
-- space around each; a Chinese, Japanese or Korean character is a word (service/everpost/store/lists/words.py).
-- `words_in_it` has each word once, without positions, so none of tsvector's limits is reached: it finds candidates, and
-- the phrase is looked for in `words`. Partitioned as the history is, so that a month can leave both.
CREATE TABLE publish_tasks_search (
    job_id      text COLLATE "C" PRIMARY KEY,
    words       text COLLATE "C" NOT NULL,
    words_in_it tsvector NOT NULL
) PARTITION BY RANGE (job_id);
CREATE TABLE publish_tasks_search_below PARTITION OF publish_tasks_search FOR VALUES FROM (MINVALUE) TO ('018cc251f400');
CREATE TABLE publish_tasks_search_above PARTITION OF publish_tasks_search FOR VALUES FROM ('03') TO (MAXVALUE);
CREATE TABLE publish_tasks_search_default PARTITION OF publish_tasks_search DEFAULT;
CREATE INDEX publish_tasks_search_words ON publish_tasks_search USING gin (words_in_it);

-- Ended tasks that the search lacks. One row for each statement that ended tasks, so that ending stays cheap.
CREATE TABLE publish_tasks_unsearched (
    entry   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_ids text[] COLLATE "C" NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off
);

-- Numbers of tasks by table, status and platform. One row for each group would be a lock that every writer waits for, so
-- triggers append changes, which upkeep adds to the counts; a number is the sum of both.
CREATE TABLE task_counts (
    source   text COLLATE "C" NOT NULL,
    status   text COLLATE "C" NOT NULL,
    platform text COLLATE "C" NOT NULL,
    tasks    bigint NOT NULL,
    PRIMARY KEY (source, status, platform)
);
CREATE TABLE task_count_changes (
    source   text COLLATE "C" NOT NULL,
    status   text COLLATE "C" NOT NULL,
    platform text COLLATE "C" NOT NULL,
    tasks    bigint NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off
);

-- A member of a JSON object, as text; NULL if the text is not JSON. For the few rows of an original file's queue, which
-- have platform, account and title only in their data.
CREATE FUNCTION everpost_member(data text, name text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN data::json ->> name;
EXCEPTION WHEN others THEN
    RETURN NULL;
END $$;

CREATE FUNCTION everpost_count_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO task_count_changes
    SELECT TG_TABLE_NAME, coalesce(status, ''), coalesce(platform, ''), count(*) FROM added GROUP BY 2, 3;
    RETURN NULL;
END $$;
CREATE FUNCTION everpost_count_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO task_count_changes
    SELECT TG_TABLE_NAME, coalesce(status, ''), coalesce(platform, ''), -count(*) FROM removed GROUP BY 2, 3;
    RETURN NULL;
END $$;
CREATE FUNCTION everpost_count_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO task_count_changes
    SELECT TG_TABLE_NAME, status, platform, sum(tasks) FROM (
        SELECT coalesce(status, '') AS status, coalesce(platform, '') AS platform, 1 AS tasks FROM added
        UNION ALL
        SELECT coalesce(status, ''), coalesce(platform, ''), -1 FROM removed
    ) AS moved
    GROUP BY status, platform HAVING sum(tasks) <> 0;
    RETURN NULL;
END $$;
-- Of tasks that come into the history, one trigger notes both, the counts and what the search lacks: each trigger costs as
-- much as writing a row or two.
CREATE FUNCTION everpost_note_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH counted AS (
        INSERT INTO task_count_changes
        SELECT TG_TABLE_NAME, coalesce(status, ''), coalesce(platform, ''), count(*) FROM added GROUP BY 2, 3
    )
    INSERT INTO publish_tasks_unsearched (job_ids)
    SELECT array_agg(job_id) FROM (SELECT job_id, row_number() OVER () / 250 AS part FROM added WHERE job_id IS NOT NULL) AS ids
    GROUP BY part;
    RETURN NULL;
END $$;
-- The words of a task are removed when it leaves the history. A process that adds words holds this lock too, so it cannot
-- add those of a task that it still sees, and that has left.
CREATE FUNCTION everpost_forget_searched() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(4918270015);
    DELETE FROM publish_tasks_search WHERE job_id = ANY (ARRAY(SELECT job_id FROM removed));
    RETURN NULL;
END $$;

CREATE TRIGGER counted_in AFTER INSERT ON task_queue
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION everpost_count_added();
CREATE TRIGGER counted_out AFTER DELETE ON task_queue
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION everpost_count_removed();
CREATE TRIGGER counted_move AFTER UPDATE ON task_queue
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION everpost_count_moved();
CREATE TRIGGER noted_in AFTER INSERT ON publish_tasks
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION everpost_note_ended();
CREATE TRIGGER counted_out AFTER DELETE ON publish_tasks
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION everpost_count_removed();
CREATE TRIGGER counted_move AFTER UPDATE ON publish_tasks
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION everpost_count_moved();
CREATE TRIGGER searched_out AFTER DELETE ON publish_tasks
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION everpost_forget_searched();

-- Adds the partitions of a month; false if they are there, NULL if another transaction adds some. Rows of that month that
-- the default partition has move over. Attaching locks the default partitions, and every list reads them. So it waits for
-- a moment only, and the caller tries again later: all others wait behind a lock that waits.
CREATE FUNCTION everpost_add_month(month date) RETURNS boolean LANGUAGE plpgsql SET lock_timeout = '300ms' AS $$
DECLARE
    low  text := lpad(to_hex((extract(epoch FROM month::timestamp) * 1000)::bigint), 12, '0');
    high text := lpad(to_hex((extract(epoch FROM month::timestamp + interval '1 month') * 1000)::bigint), 12, '0');
    whole text;
    part text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(4918270014) THEN
        RETURN NULL;
    END IF;
    IF to_regclass('publish_tasks_' || to_char(month, 'YYYY_MM')) IS NOT NULL THEN
        RETURN false;
    END IF;
    FOREACH whole IN ARRAY ARRAY['publish_tasks', 'publish_tasks_search'] LOOP
        part := whole || to_char(month, '_YYYY_MM');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING STORAGE)', part, whole);
        EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', whole || '_default');
        EXECUTE format('WITH moved AS (DELETE FROM %I WHERE job_id >= %L AND job_id < %L RETURNING *) '
            'INSERT INTO %I SELECT * FROM moved', whole || '_default', low, high, part);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', whole, part, low, high);
    END LOOP;
    RETURN true;
END $$;

-- Drops the partitions of months before one that autovacuum found empty, since all their tasks were archived; how many.
-- This gives their space back to the file system, and lists have less to merge.
CREATE FUNCTION everpost_drop_empty_months(before date) RETURNS integer LANGUAGE plpgsql SET lock_timeout = '300ms' AS $$
DECLARE
    part text;
    has_rows boolean;
    dropped integer := 0;
BEGIN
    FOR part IN
        SELECT relname FROM pg_partition_tree('publish_tasks') JOIN pg_class ON pg_class.oid = relid
        WHERE relname ~ '^publish_tasks_\d{4}_\d\d$' AND relname < 'publish_tasks_' || to_char(before, 'YYYY_MM') AND reltuples = 0
    LOOP
        LOCK TABLE ONLY publish_tasks, ONLY publish_tasks_search IN ACCESS EXCLUSIVE MODE; -- before a partition, as readers do
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', part) INTO has_rows;
        IF NOT has_rows THEN
            EXECUTE format('DROP TABLE %I, %I', part, replace(part, 'publish_tasks', 'publish_tasks_search'));
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END $$;
SELECT everpost_add_month((date_trunc('month', now() AT TIME ZONE 'UTC') + made * interval '1 month')::date)
FROM generate_series(-1, 2) AS made;
