-- The newest operation, not counting the :newer newest ones.
SELECT operation_id FROM operations ORDER BY operation_id DESC LIMIT 1 OFFSET :newer
