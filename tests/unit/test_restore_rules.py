"""How the tasks of a restored backup end."""

from everpost.task.model import ErrorClass, TaskColumns, TaskStatus
from everpost.task.queued_job import QueuedJob
from everpost.task.restore_rules import (
    LONGEST,
    MAY_BE_OUT,
    NOT_IN_BACKUP,
    end_of_held,
    end_of_send,
    end_of_unrecorded,
)

NOW_MS = 1_700_000_000_000


def test_a_task_that_was_being_sent_is_unknown_with_its_attempt_on_record() -> None:
    record = end_of_send("a", 2, None, NOW_MS)
    assert (record.status, record.error_class, record.finished_at_ms) == ("unknown", ErrorClass.RESTORED, NOW_MS)
    assert record.attempt is not None
    assert (record.attempt.number, record.attempt.started_at, record.attempt.finished_at) == (2, "", None)
    assert record.error_message == record.attempt.error
    assert "Attempt 2" in str(record.error_message)


def test_a_held_task_succeeds_only_if_redis_says_so() -> None:
    post = {"provider_post_id": "7", "publish_url": "https://a", "detail": {"x": 1}}
    record = end_of_held("a", QueuedJob(task_data=None, success=True, finished_at_ms=5, outcome=post), NOW_MS)
    assert (record.status, record.finished_at_ms, record.result) == (TaskStatus.SUCCESS, 5, '{"x":1}')
    assert (record.provider_post_id, record.publish_url) == ("7", "https://a")
    assert end_of_held("a", QueuedJob(task_data=None, success=True, outcome="odd"), NOW_MS).status == "success"


def test_a_held_task_is_unknown_with_what_redis_says() -> None:
    assert end_of_held("a", None, NOW_MS).error_message == MAY_BE_OUT
    failed = end_of_held("a", QueuedJob(task_data=None, success=False, outcome="x" * 2 * LONGEST), NOW_MS)
    assert (failed.status, failed.error_class) == ("unknown", ErrorClass.RESTORED)
    assert failed.error_message == f"{MAY_BE_OUT}; Redis says: {'x' * LONGEST}"


def test_a_task_that_only_redis_knows_is_kept_whole() -> None:
    columns = TaskColumns(platform="1")
    waiting = QueuedJob(task_data=b"{}", priority=2, retry_of="b", enqueued_at_ms=3, outcome="not read")
    record = end_of_unrecorded("a", waiting, columns, NOW_MS)
    assert (record.status, record.error_message) == ("unknown", NOT_IN_BACKUP)
    assert (record.task_data, record.columns, record.priority) == (b"{}", columns, 2)
    assert (record.retry_of, record.queued_at_ms) == ("b", 3)
    ended = end_of_unrecorded("a", QueuedJob(task_data=None, success=True, outcome={}), None, NOW_MS)
    assert (ended.status, ended.queued_at_ms) == ("success", NOW_MS)
