UPDATE publish_tasks SET callback_url = given.callback_url
FROM json_to_recordset(:rows) AS given (task_id text, callback_url text)
WHERE publish_tasks.job_id = ANY (ARRAY(SELECT task_id FROM json_to_recordset(:rows) AS ids (task_id text)))
    AND publish_tasks.job_id = given.task_id
