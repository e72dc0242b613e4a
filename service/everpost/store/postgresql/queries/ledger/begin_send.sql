-- Intents to send (I6), committed before the first byte leaves. A task that is not returned has no such intent: an attempt
-- other than `earlier` may have sent. `is_known` is false if another server answers than the kept lineage
-- names: then nothing was written.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(:rows::everpost_intent[])
), {known_server}, begun AS (
    UPDATE task_queue AS t
    SET sending = given.attempt, sending_since = given.since_boot, status = 'running', started_at = given.now, updated_at = given.now
    FROM given
    WHERE (SELECT is_known FROM known_server) AND t.task_id = given.task_id
        AND t.task_id = ANY (ARRAY(SELECT given.task_id FROM given))
        AND t.sending IS NOT DISTINCT FROM given.earlier
    RETURNING t.task_id
)
SELECT task_id, TRUE AS is_known FROM begun
UNION ALL
SELECT given.task_id, FALSE FROM given, known_server WHERE NOT known_server.is_known
