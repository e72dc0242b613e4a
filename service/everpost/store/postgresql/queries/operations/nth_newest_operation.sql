-- The newest operation after :newer newer ones.
SELECT operation_id FROM operations ORDER BY operation_id DESC LIMIT 1 OFFSET :newer
