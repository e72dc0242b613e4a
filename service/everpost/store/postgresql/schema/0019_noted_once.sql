-- needs: 1
-- As in 0002_history.sql, with the ended tasks of a statement read and grouped once.
CREATE OR REPLACE FUNCTION everpost_note_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH grouped AS MATERIALIZED (
        SELECT coalesce(status, '') AS status, coalesce(platform, '') AS platform, count(*) AS tasks,
            array_agg(job_id) FILTER (WHERE job_id IS NOT NULL) AS ids
        FROM added GROUP BY 1, 2
    ), counted AS (
        INSERT INTO task_count_changes SELECT TG_TABLE_NAME, status, platform, tasks FROM grouped
    )
    INSERT INTO publish_tasks_unsearched (job_ids)
    SELECT ids[part * 250 + 1: part * 250 + 250] FROM grouped, generate_series(0, (cardinality(ids) - 1) / 250) AS part;
    RETURN NULL;
END $$;
