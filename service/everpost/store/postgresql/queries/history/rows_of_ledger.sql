-- The columns of `TaskRow`, in its order. Rows of an original file have some only in their data.
SELECT task_id, 'ledger' AS place, accepted_by IS NULL AS inherited, status,
    coalesce(platform, everpost_member(data, 'platform')) AS platform,
    coalesce(account_id, everpost_member(data, 'account_id')) AS account_id,
    coalesce(title, everpost_member(data, 'title')) AS title, priority,
    created_at, updated_at, due_at, started_at, completed_at, NULL AS error_class, error_message, retry_of, batch_id,
    attempts, NULL AS provider_post_id, NULL AS publish_url, NULL AS evidence, submitted_by
FROM unnest(:task_ids::text[]) AS wanted (id) JOIN task_queue ON task_id = wanted.id
