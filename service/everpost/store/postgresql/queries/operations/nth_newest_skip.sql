-- The operation of the newest skip after :newer newer ones.
SELECT operation_id FROM operation_skips ORDER BY operation_id DESC, task_id DESC LIMIT 1 OFFSET :newer
