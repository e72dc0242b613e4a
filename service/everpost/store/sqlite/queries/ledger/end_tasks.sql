-- Ended tasks move from the ledger into the history: all of them, or none if one is not in the ledger; see ending.sql.
-- :rows is a JSON list of [record, queued_at, started_at, finished_at, failure].
-- MATERIALIZED: otherwise json_each writes each element again at every use.
WITH given (e) AS MATERIALIZED (SELECT value FROM json_each(:rows))
INSERT INTO ending (
    task_id, status, finished_at, queued_at, started_at,
    attempt, error_class, error_message, result,
    provider_post_id, publish_url, platform, account_id,
    material_id, title, tags, cover,
    schedule_time, publish_mode, failure
)
SELECT
    e ->> '$[0].task_id', e ->> '$[0].status', e ->> '$[3]', e ->> '$[1]', e ->> '$[2]',
    e ->> '$[0].attempt', e ->> '$[0].error_class', e ->> '$[0].error_message', e ->> '$[0].result',
    e ->> '$[0].provider_post_id', e ->> '$[0].publish_url', e ->> '$[0].columns.platform', e ->> '$[0].columns.account_id',
    e ->> '$[0].columns.material_id', e ->> '$[0].columns.title', e ->> '$[0].columns.tags', e ->> '$[0].columns.cover',
    e ->> '$[0].columns.schedule_time', e ->> '$[0].columns.publish_mode',
    e -> '$[4]'
FROM given
