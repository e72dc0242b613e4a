INSERT INTO publish_tasks (
    job_id, platform, account_id, title, status, error_message, error_class, created_at, updated_at, completed_at,
    priority, task_data, attempts
)
SELECT id, :data::json ->> 'platform', :data::json ->> 'account_id', :data::json ->> 'title', 'failed', 'refused',
    'invalid', :at::text, :at, :at, 5, :data::text,
    json_build_array(json_build_object('number', 1, 'started_at', :at, 'finished_at', :at, 'outcome', 'failed',
        'error_class', 'invalid', 'worker', 'w'))::text
FROM unnest(:task_ids::text[]) AS id
