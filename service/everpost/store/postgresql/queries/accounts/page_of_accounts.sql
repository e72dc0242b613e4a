SELECT
    platform, account_id, title, options, credentials, timezone, status, reason, since, tokens, tokens_at, revision,
    locked_by, locked_until_ms, test, created_at, updated_at
FROM publish_accounts
WHERE (platform, account_id) > (:after_platform::text, :after_account::text)
    AND (:only_platform::text IS NULL OR platform = :only_platform::text)
    AND (:only_status::text IS NULL OR status = :only_status::text)
ORDER BY platform, account_id LIMIT :limit::bigint
