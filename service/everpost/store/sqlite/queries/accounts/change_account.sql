UPDATE publish_accounts SET
    title = :title, options = :options, credentials = :credentials, timezone = :timezone, status = :status,
    reason = :reason, since = :since, tokens = :tokens, tokens_at = :tokens_at, revision = :revision,
    locked_by = :locked_by, locked_until_ms = :locked_until_ms, test = :test, updated_at = :updated_at
WHERE platform = :platform AND account_id = :account_id
