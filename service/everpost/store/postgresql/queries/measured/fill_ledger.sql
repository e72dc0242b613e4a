INSERT INTO task_queue (
    task_id, task_type, priority, status, data, created_at, updated_at, platform, account_id, title, accepted_by
)
SELECT
    lpad(to_hex(:start_ms::bigint + number * :every_ms::bigint), 12, '0') || '7' || left(md5(random()::text), 19),
    'publish', :priority::integer, 'pending', :data::text, at, at, :data::json ->> 'platform',
    :data::json ->> 'account_id', :data::json ->> 'title', 'bench'
FROM generate_series(1, :rows::bigint) AS number CROSS JOIN LATERAL to_char(
    to_timestamp((:start_ms + number * :every_ms) / 1000) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS".000Z"') AS at
