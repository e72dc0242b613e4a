-- The operation of the newest skip, not counting the :newer newest ones.
SELECT operation_id FROM operation_skips ORDER BY operation_id DESC, task_id DESC LIMIT 1 OFFSET :newer
