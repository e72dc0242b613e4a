SELECT batch_id, kind, items, created_at, callback_url, total, rejected, unfinished
FROM batches WHERE batch_id = :batch_id
