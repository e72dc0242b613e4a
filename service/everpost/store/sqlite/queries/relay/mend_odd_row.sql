-- Mends an odd row before it moves into the history; all other columns stay as they are. quote() keeps a BLOB readable.
UPDATE task_queue SET
    task_id = :task_id,
    attempts = :attempts,
    root_id = CASE typeof(root_id) WHEN 'blob' THEN quote(root_id) ELSE root_id END,
    retry_of = CASE typeof(retry_of) WHEN 'blob' THEN quote(retry_of) ELSE retry_of END,
    batch_id = CASE typeof(batch_id) WHEN 'blob' THEN quote(batch_id) ELSE batch_id END,
    platform = CASE typeof(platform) WHEN 'blob' THEN quote(platform) ELSE platform END,
    account_id = CASE typeof(account_id) WHEN 'blob' THEN quote(account_id) ELSE account_id END,
    title = CASE typeof(title) WHEN 'blob' THEN quote(title) ELSE title END
WHERE id = :row
