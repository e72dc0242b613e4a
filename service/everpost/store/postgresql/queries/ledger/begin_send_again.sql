-- As begin_send.sql, for rows whose answer was lost: an intent of the same attempt and time is the one that they wrote.
WITH given AS (
    SELECT * FROM unnest(:rows::everpost_intent[])
), {known_server}, begun AS (
    UPDATE task_queue AS t
    SET sending = given.attempt, sending_since = given.since_boot, status = 'running', started_at = given.now, updated_at = given.now
    FROM given
    WHERE (SELECT is_known FROM known_server) AND t.task_id = given.task_id
        AND t.task_id = ANY (:ids::text[])
        AND (t.sending IS NOT DISTINCT FROM given.earlier OR t.sending = given.attempt AND t.started_at = given.now)
    RETURNING t.task_id
)
SELECT task_id, TRUE AS is_known FROM begun
UNION ALL
SELECT id, FALSE FROM unnest(:ids) AS id, known_server WHERE NOT known_server.is_known
