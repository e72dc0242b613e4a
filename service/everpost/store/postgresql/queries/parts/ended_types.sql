task_id text, status text, finished_at text, queued_at text, started_at text, attempt text, error_class text,
    error_message text, result text, provider_post_id text, publish_url text, platform text, account_id text,
    material_id text, title text, tags text, cover text, schedule_time text, publish_mode text