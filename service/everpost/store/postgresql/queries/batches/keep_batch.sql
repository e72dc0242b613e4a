INSERT INTO batches (batch_id, kind, items, created_at, callback_url, total, rejected, unfinished)
VALUES (:batch_id, :kind, :items, :created_at, :callback_url, :total, :rejected, :unfinished)
