-- Add what the counts lack, unless another repair came first: each one changes the token.
WITH mine AS (
    INSERT INTO everpost_meta (key, value) VALUES (:key, :new_token)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE everpost_meta.value = :token
    RETURNING key
)
INSERT INTO task_count_changes (source, status, platform, tasks)
SELECT source, status, platform, tasks FROM json_to_recordset(:rows::json)
    AS row (source text, status text, platform text, tasks bigint)
WHERE EXISTS (SELECT FROM mine)
