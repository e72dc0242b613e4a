-- Rows of ordinary size, one every :every_ms; each tenth has failed.
WITH row AS (
    SELECT number, number % 10 <> 0 AS is_well, lpad(to_hex(:start_ms::bigint + number * :every_ms::bigint), 12, '0')
        || '7' || left(md5(random()::text), 19) AS id,
        to_char(to_timestamp((:start_ms + number * :every_ms) / 1000) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS".000Z"') AS at
    FROM generate_series(:first::bigint, :last::bigint) AS number
)
INSERT INTO publish_tasks (
    job_id, platform, account_id, material_id, title, tags, status, error_message, error_class, created_at, updated_at,
    published_at, completed_at, queued_at, started_at, priority, task_data, attempts, result
)
SELECT
    id, CASE WHEN is_well THEN 'bench' ELSE 'bench-refusing' END, 'account' || number % 1000, number::text,
    'title ' || number, '["a","b"]', CASE WHEN is_well THEN 'success' ELSE 'failed' END,
    CASE WHEN NOT is_well THEN 'refused' END, CASE WHEN NOT is_well THEN 'invalid' END,
    at, at, CASE WHEN is_well THEN at END, at, at, at, 5,
    json_build_object('platform', CASE WHEN is_well THEN 'bench' ELSE 'bench-refusing' END, 'account_id',
        'account' || number % 1000, 'file_id', number, 'title', 'title ' || number, 'description',
        'a post of ordinary size', 'tags', json_build_array('a', 'b'))::text,
    json_build_array(json_build_object('number', 1, 'started_at', at, 'finished_at', at, 'outcome',
        CASE WHEN is_well THEN 'success' ELSE 'failed' END, 'error_class', CASE WHEN NOT is_well THEN 'invalid' END,
        'worker', 'w'))::text,
    CASE WHEN is_well THEN '{}' END
FROM row
