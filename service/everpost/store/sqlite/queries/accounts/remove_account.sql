DELETE FROM publish_accounts WHERE platform = :platform AND account_id = :account_id
