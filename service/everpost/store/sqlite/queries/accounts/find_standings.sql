SELECT platform, account_id, status, reason, since, timezone, test FROM publish_accounts
