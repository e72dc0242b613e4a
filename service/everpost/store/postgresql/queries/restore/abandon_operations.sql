-- Bulk work that was under way went on, and must not be done a second time.
UPDATE operations SET status = 'failed', error = :error, owner = NULL, updated_at = :now WHERE status = 'running'
