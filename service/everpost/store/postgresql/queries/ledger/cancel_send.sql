-- These attempts ended before their first byte left, so the next ones may send.
WITH given AS (
    SELECT * FROM unnest(:rows::everpost_intent[])
)
UPDATE task_queue AS t SET sending = NULL, status = 'pending', updated_at = given.now
FROM given
WHERE t.task_id = given.task_id AND t.task_id = ANY (:ids::text[]) AND t.sending = given.attempt
RETURNING t.task_id
