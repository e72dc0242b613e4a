INSERT INTO decisions (
    task_id, decision, status_before, decided_at, decided_by, why, provider_post_id, publish_url, new_task_id
) VALUES (
    :task_id, :decision, :status_before, :decided_at, :decided_by, :why, :provider_post_id, :publish_url, :new_task_id
)
