-- Occurrences after the backup were made, and must not be made a second time.
UPDATE recurring_posts SET status = 'paused', reason = 'restored', next_at = NULL, version = version + 1, updated_at = :now
WHERE status = 'active'
