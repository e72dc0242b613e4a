-- needs: 2
-- Archiving takes a month out of the history as a whole, and adds it to the archive: no row of it moves.
--
-- A month becomes a child of the archive by inheritance, not a partition. A partition would have to be compared with all
-- rows of the archive that are in none, under a lock that stops every reader. As a child it is only noted.

-- Archives the oldest month before the one of `before` that has at least `fewest` rows; how many tasks went. NULL if there
-- is none, or another process is changing months.
--
-- Tasks that stay (failures, and successes that ended later) move into a new partition first. Meanwhile others read the
-- month, but do not change its tasks. The history as a whole is locked for the moment in which the tables change places.
-- All is one transaction, so a crash leaves the month as it was. A lock that is not available at once is not waited for,
-- because everyone else would wait behind it.
CREATE FUNCTION everpost_archive_month(before text, day_before text, at text, fewest bigint, most_staying bigint)
RETURNS bigint LANGUAGE plpgsql SET lock_timeout = '300ms' AS $$
DECLARE
    stay constant text := format('status IS DISTINCT FROM ''success'' OR coalesce(completed_at, updated_at, created_at) >= %1$L'
        ' OR coalesce(completed_at, updated_at, created_at) IS NULL'
        ' OR right(coalesce(completed_at, updated_at, created_at), 1) <> ''Z'''
        ' AND coalesce(completed_at, updated_at, created_at) >= %2$L', before, day_before);
    part text;
    words text;
    archived text;
    range text;
    staying bigint;
    went bigint;
    useless regclass;
BEGIN
    IF NOT pg_try_advisory_xact_lock(4918270014) THEN -- as everpost_add_month does
        RETURN NULL;
    END IF;
    FOR part, range IN
        SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class
        WHERE relname ~ '^publish_tasks_\d{4}_\d\d$' AND relispartition AND reltuples >= fewest
            AND relname < 'publish_tasks_' || replace(left(before, 7), '-', '_')
        ORDER BY relname
    LOOP
        archived := replace(part, 'publish_tasks', 'publish_tasks_archive');
        CONTINUE WHEN to_regclass(archived) IS NOT NULL;
        EXECUTE format('SELECT count(*) FROM (SELECT FROM %I WHERE %s LIMIT %s) AS counted', part, stay, most_staying + 1)
            INTO staying;
        CONTINUE WHEN staying > most_staying;
        words := replace(part, 'publish_tasks', 'publish_tasks_search');

        EXECUTE format('LOCK TABLE %I IN EXCLUSIVE MODE', part);
        PERFORM pg_advisory_xact_lock(4918270015); -- no words are added: see everpost_forget_searched
        EXECUTE format('LOCK TABLE %I IN EXCLUSIVE MODE', words);
        EXECUTE format('CREATE TABLE staying (LIKE %I INCLUDING ALL, CONSTRAINT bounds CHECK (%s))',
            part, pg_get_partition_constraintdef(part::regclass)); -- else ATTACH would read it under its lock
        EXECUTE format('WITH moved AS (DELETE FROM %I WHERE %s RETURNING *) INSERT INTO staying SELECT * FROM moved', part, stay);
        EXECUTE format('CREATE TABLE staying_words (LIKE %I INCLUDING ALL)', words);
        EXECUTE format('INSERT INTO staying_words SELECT * FROM %I WHERE job_id = ANY (ARRAY(SELECT job_id FROM staying))', words);
        EXECUTE format('WITH counted AS (SELECT coalesce(platform, '''') AS platform, count(*) AS tasks FROM %I GROUP BY 1), '
            'noted AS (INSERT INTO task_count_changes SELECT ''publish_tasks'', ''success'', platform, -tasks FROM counted) '
            'SELECT coalesce(sum(tasks), 0) FROM counted', part) INTO went;

        LOCK TABLE ONLY publish_tasks, ONLY publish_tasks_search IN ACCESS EXCLUSIVE MODE; -- before a partition, as readers do
        EXECUTE format('ALTER TABLE publish_tasks DETACH PARTITION %I', part);
        EXECUTE format('ALTER TABLE publish_tasks_search DETACH PARTITION %I', words);
        EXECUTE format('DROP TABLE %I', words);
        EXECUTE format('ALTER TABLE %I RENAME TO %I', part, archived);
        EXECUTE format('ALTER TABLE staying RENAME TO %I', part);
        EXECUTE format('ALTER TABLE staying_words RENAME TO %I', words);
        EXECUTE format('ALTER TABLE publish_tasks ATTACH PARTITION %I %s', part, range);
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT bounds', part);
        EXECUTE format('ALTER TABLE publish_tasks_search ATTACH PARTITION %I %s', words, range);
        -- Only ids and chains are looked up in the archive. A default of a new column is not written into the rows. The
        -- number of a row, of which the archive's newest counts, is the same for the whole month.
        FOR useless IN
            SELECT indexrelid FROM pg_index
            WHERE indrelid = archived::regclass AND NOT indisunique AND pg_get_indexdef(indexrelid) NOT LIKE '%(root_id)%'
        LOOP
            EXECUTE format('DROP INDEX %s', useless);
        END LOOP;
        EXECUTE format('ALTER TABLE %I ADD archived_row bigint NOT NULL DEFAULT -%s, '
            'ADD archived_at text COLLATE "C" DEFAULT %L, ADD archive_reason text DEFAULT ''age''',
            archived, replace(right(archived, 7), '_', ''), at);
        EXECUTE format('ALTER TABLE %I INHERIT publish_tasks_archive', archived);
        RETURN went;
    END LOOP;
    RETURN NULL;
END $$;

-- Destroys a month that was archived as a whole before a time; how many tasks. NULL if there is none.
CREATE FUNCTION everpost_purge_month(before text) RETURNS bigint LANGUAGE plpgsql SET lock_timeout = '300ms' AS $$
DECLARE
    month regclass;
    other boolean;
    destroyed bigint;
BEGIN
    FOR month IN
        SELECT inhrelid FROM pg_inherits WHERE inhparent = 'publish_tasks_archive'::regclass ORDER BY inhrelid
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE archived_at >= $1 OR completed_at >= $1)', month)
            INTO other USING before;
        CONTINUE WHEN other;
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', month);
        EXECUTE format('SELECT count(*) FROM %s', month) INTO destroyed;
        EXECUTE format('DROP TABLE %s', month);
        RETURN destroyed;
    END LOOP;
    RETURN NULL;
END $$;
