INSERT INTO publish_accounts (
    platform, account_id, title, options, credentials, timezone, status, reason, since, tokens, tokens_at, revision,
    locked_by, locked_until_ms, test, created_at, updated_at
)
VALUES (
    :platform, :account_id, :title, :options, :credentials, :timezone, :status, :reason, :since, :tokens, :tokens_at,
    :revision, :locked_by, :locked_until_ms, :test, :created_at, :updated_at
)
ON CONFLICT DO NOTHING
