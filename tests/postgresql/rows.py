"""Many rows in a PostgreSQL database, made by the server itself: over the last month and this one, to its end."""

from postgresql.kit import PostgresqlKit

FILL = """
SET LOCAL session_replication_role = replica; -- without triggers
INSERT INTO publish_tasks (job_id, platform, account_id, title, status, created_at, updated_at, completed_at, task_data,
    retry_of, root_id, batch_id, error_class)
SELECT lpad(to_hex(ms), 12, '0') || '7' || lpad(to_hex(n), 19, '0'), (ARRAY['douyin', 'bilibili', '3'])[1 + n % 3],
    'account' || n % 100, 'title ' || n, status, text, text, text, '{{"title": "title ' || n || '"}}',
    CASE WHEN n % 50 = 0 THEN 'retried' || n END, CASE WHEN n % 50 = 0 THEN 'retried' || n END,
    CASE WHEN n % 10 = 0 THEN 'batch' || n / 100 END, CASE WHEN status = 'failed' THEN 'auth' END
FROM (
    SELECT n, ms, (ARRAY['failed', 'cancelled', 'success', 'success', 'success', 'success'])[1 + n % 6] AS status,
        to_char(to_timestamp(ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS text
    FROM (
        SELECT n, (extract(epoch FROM first + days * (1 - n / {rows}.0)) * 1000)::bigint AS ms
        FROM generate_series(1, {rows}) AS n,
            (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month' AS first) AS months,
            LATERAL (SELECT first + interval '2 months' - first AS days) AS length
    ) AS times
) AS tasks;
INSERT INTO task_queue (task_id, platform, account_id, title, status, due_at, created_at, data, accepted_by, batch_id,
    retry_of)
SELECT job_id, platform, account_id, title, CASE WHEN status = 'failed' THEN 'scheduled' ELSE 'pending' END,
    CASE WHEN status = 'failed' THEN created_at END, created_at, task_data, 'test', batch_id, retry_of
FROM publish_tasks LIMIT {rows} / 2;
INSERT INTO publish_tasks_search (job_id, words, words_in_it)
SELECT job_id, ' ' || title || ' ', array_to_tsvector(string_to_array(title, ' ')) FROM publish_tasks LIMIT {rows} / 2;
INSERT INTO publish_tasks_archive (job_id, platform, status, root_id, archived_at, completed_at)
SELECT job_id, platform, status, root_id, created_at, created_at FROM publish_tasks;
INSERT INTO decisions (task_id, decision, status_before, decided_at, new_task_id)
SELECT job_id, 'send_again', 'unknown', created_at, 'new' || job_id FROM publish_tasks;
INSERT INTO idempotency_keys (key, fingerprint, task_id, created_at, answer, counted_ms)
SELECT job_id, '', job_id, created_at, '', 0 FROM publish_tasks;
INSERT INTO operations (operation_id, kind, request, status, total, created_at, updated_at)
SELECT job_id, 'retry', '', 'done', 1, created_at, created_at FROM publish_tasks;
INSERT INTO operation_skips (operation_id, task_id, reason) SELECT job_id, job_id, '' FROM publish_tasks;
INSERT INTO operation_tasks (operation_id, task_id) SELECT job_id, job_id FROM publish_tasks;
INSERT INTO publish_tasks_unsearched (job_ids) SELECT ARRAY[job_id] FROM publish_tasks;
INSERT INTO task_counts SELECT 'publish_tasks', status, platform, count(*) FROM publish_tasks GROUP BY 2, 3;
INSERT INTO task_counts SELECT 'task_queue', status, platform, count(*) FROM task_queue GROUP BY 2, 3;
"""


def fill(kit: PostgresqlKit, rows: int) -> None:
    """Put so many rows into the history, and some into every other table."""
    kit.execute(FILL.format(rows=rows).encode())
    kit.execute(b"VACUUM ANALYZE")
