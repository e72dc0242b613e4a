SELECT
    platform, account_id, title, options, credentials, timezone, status, reason, since, tokens, tokens_at, revision,
    locked_by, locked_until_ms, test, created_at, updated_at
FROM publish_accounts
WHERE (platform, account_id) > (:after_platform, :after_account)
    AND (:only_platform IS NULL OR platform = :only_platform) AND (:only_status IS NULL OR status = :only_status)
ORDER BY platform, account_id LIMIT :limit
