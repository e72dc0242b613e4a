-- Rows of an original file's queue move into the archive unchanged.
WITH moved AS (
    DELETE FROM task_queue WHERE task_id = ANY (:task_ids::text[]) AND accepted_by IS NULL RETURNING *
)
INSERT INTO publish_tasks_archive (
    job_id, platform, account_id, material_id, title, status, error_message, created_at, updated_at, completed_at,
    task_data, priority, result, started_at, archived_at, archive_reason
)
SELECT
    task_id,
    coalesce(platform, everpost_member(data, 'platform')),
    coalesce(account_id, everpost_member(data, 'account_id')),
    everpost_member(data, 'file_id'),
    coalesce(title, everpost_member(data, 'title')),
    status, error_message, created_at, updated_at, completed_at, data, priority, result, started_at, :now, :reason
FROM moved
