"""What happens to tasks, read once from Redis for all readers of this process; docs/events.md."""
