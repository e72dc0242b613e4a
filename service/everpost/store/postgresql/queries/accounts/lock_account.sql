SELECT
    platform, account_id, title, options, credentials, timezone, status, reason, since, tokens, tokens_at, revision,
    locked_by, locked_until_ms, test, created_at, updated_at
FROM publish_accounts WHERE platform = :platform AND account_id = :account_id FOR UPDATE
