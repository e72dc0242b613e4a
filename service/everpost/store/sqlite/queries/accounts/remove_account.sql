DELETE FROM accounts WHERE platform = :platform AND account_id = :account_id
