-- Ended tasks move from the ledger into the history: all of them, or none if one is not in the ledger; see ending.sql.
-- :rows is a JSON list of lists, the values of each in this order. By names, each value would take longer to find.
-- MATERIALIZED: otherwise json_each writes each list again at every use.
WITH given (e) AS MATERIALIZED (SELECT value FROM json_each(:rows))
INSERT INTO ending (
    task_id, status, queued_at, started_at, finished_at,
    attempt, error_class, error_message, result, provider_post_id,
    publish_url, platform, account_id, material_id, title,
    tags, cover, schedule_time, publish_mode, failure
)
SELECT
    e ->> 0, e ->> 1, e ->> 2, e ->> 3, e ->> 4,
    e ->> 5, e ->> 6, e ->> 7, e ->> 8, e ->> 9,
    e ->> 10, e ->> 11, e ->> 12, e ->> 13, e ->> 14,
    e ->> 15, e ->> 16, e ->> 17, e ->> 18, e -> 19
FROM given
