-- needs: 2
-- One trigger notes what two noted of tasks that come into the history: each costs as much as writing a row or two.
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
CREATE TRIGGER noted_in AFTER INSERT ON publish_tasks
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION everpost_note_ended();
DROP TRIGGER counted_in ON publish_tasks;
DROP TRIGGER searched_in ON publish_tasks;
DROP FUNCTION everpost_note_unsearched;
