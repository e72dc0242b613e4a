-- needs: 1
-- Failed tasks by the cause of their errors, their numbers, and what ended in each minute; see `schema.sql`.

CREATE TABLE failures (
    task_id    text COLLATE "C" PRIMARY KEY,
    cause      text COLLATE "C" NOT NULL,
    platform   text COLLATE "C" NOT NULL,
    account_id text COLLATE "C" NOT NULL,
    created_at text COLLATE "C",
    ended_s    bigint NOT NULL
);
CREATE INDEX failures_cause ON failures (cause, created_at, task_id, platform, account_id);
CREATE TABLE failure_causes (
    cause       text COLLATE "C" PRIMARY KEY,
    error_class text,
    text        text NOT NULL
);
CREATE TABLE failure_counts (
    slice_s    bigint NOT NULL,                            -- 300, 3600 or 86400
    began_s    bigint NOT NULL,
    cause      text COLLATE "C" NOT NULL,
    platform   text COLLATE "C" NOT NULL,
    account_id text COLLATE "C" NOT NULL,
    tasks      bigint NOT NULL,
    first_s    bigint,
    last_s     bigint,
    sample     text COLLATE "C",
    PRIMARY KEY (slice_s, began_s, cause, platform, account_id)
) WITH (fillfactor = 70);
-- As `task_count_changes`: triggers append, upkeep adds up, so that no worker waits for another one's count.
CREATE TABLE failure_count_changes (
    began_s    bigint NOT NULL,                            -- of 5 minutes
    cause      text COLLATE "C" NOT NULL,
    platform   text COLLATE "C" NOT NULL,
    account_id text COLLATE "C" NOT NULL,
    tasks      bigint NOT NULL,
    first_s    bigint,
    last_s     bigint,
    sample     text COLLATE "C"
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off
);
CREATE TABLE timeline (
    began_s bigint PRIMARY KEY,
    counts  text NOT NULL
);

CREATE FUNCTION everpost_failures_in() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO failure_count_changes
    SELECT ended_s / 300 * 300, cause, platform, account_id, count(*), min(ended_s), max(ended_s),
        (array_agg(task_id ORDER BY ended_s DESC, task_id DESC))[1]
    FROM added GROUP BY 1, 2, 3, 4;
    RETURN NULL;
END $$;
CREATE FUNCTION everpost_failures_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO failure_count_changes (began_s, cause, platform, account_id, tasks)
    SELECT ended_s / 300 * 300, cause, platform, account_id, -count(*) FROM removed GROUP BY 1, 2, 3, 4;
    RETURN NULL;
END $$;
CREATE FUNCTION everpost_failures_left() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM removed WHERE status = 'failed') THEN
        DELETE FROM failures WHERE task_id = ANY (ARRAY(SELECT job_id FROM removed WHERE status = 'failed'));
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION everpost_failures_undone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM removed WHERE status = 'failed') THEN
        DELETE FROM failures WHERE task_id = ANY (ARRAY(
            SELECT job_id FROM removed WHERE status = 'failed' EXCEPT SELECT job_id FROM added WHERE status = 'failed'
        ));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER counted_in AFTER INSERT ON failures
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION everpost_failures_in();
CREATE TRIGGER counted_out AFTER DELETE ON failures
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION everpost_failures_out();
CREATE TRIGGER failures_left AFTER DELETE ON publish_tasks
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION everpost_failures_left();
CREATE TRIGGER failures_undone AFTER UPDATE ON publish_tasks
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION everpost_failures_undone();
