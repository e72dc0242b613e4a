"""The state of a task, file, account or key forbids the request."""

from collections.abc import Sequence

from everpost.errors.base import SHOWN_CHARACTERS, ServiceError


class Conflict(ServiceError):
    """The state of the task forbids the request; the other 409 codes are more exact."""

    code = "conflict"

    def __init__(self, message: str, task_id: str | None = None) -> None:
        super().__init__(message)
        self.task_id = task_id


class AccountExists(Conflict):
    """The account is registered already."""

    code = "account_exists"

    def __init__(self, platform: str, account_id: str) -> None:
        super().__init__(f"The account {account_id[:SHOWN_CHARACTERS]!r} of {platform} is registered already.")


class TaskRunning(Conflict):
    """A worker holds the task."""

    code = "task_running"

    def __init__(self, task_id: str) -> None:
        super().__init__("The task is running; wait until it ends.", task_id)


class TaskNotCancelled(Conflict):
    """The task is not, or no longer, a cancelled task of the history; so there is no cancellation to undo."""

    code = "task_not_cancelled"

    def __init__(self, task_id: str) -> None:
        super().__init__("The task is not a cancelled task of the history.", task_id)


class TaskUnreadable(Conflict):
    """A stock arq client's message contains nothing to publish; it is kept in the task's `raw_job`."""

    code = "task_unreadable"

    def __init__(self, task_id: str, reason: str) -> None:
        super().__init__(
            f"The message that was enqueued cannot be published: {reason}. It is kept in `raw_job`.", task_id
        )


class TaskHeld(Conflict):
    """The task was unfinished in a restored backup; run `everpost resume` first."""

    code = "task_held"

    def __init__(self, task_id: str) -> None:
        super().__init__(
            "The task may have been published since the backup that was restored; resume dispatch first.", task_id
        )


class TaskSucceeded(Conflict):
    """The task or a retry of it was already published; `force=true` publishes it once more."""

    code = "task_succeeded"

    def __init__(self, task_id: str) -> None:
        super().__init__("The task was published already; force=true publishes it a second time.", task_id)


class RetryExists(Conflict):
    """An unfinished retry of it has other data than this one would have; `task_id` names it."""

    code = "retry_exists"

    def __init__(self, task_id: str) -> None:
        super().__init__(
            "A retry of the task is unfinished and has other data; wait for its end, or retry that one.", task_id
        )


class DuplicatePost(Conflict):
    """The same content was posted to this account a short time ago, as `task_id`; `allow_duplicate` posts it again."""

    code = "duplicate_post"

    def __init__(self, task_id: str) -> None:
        super().__init__(
            "The same content was posted to this account a short time ago; allow_duplicate posts it again.", task_id
        )


class TaskEnded(Conflict):
    """The task has ended, so it can be neither cancelled nor edited."""

    code = "task_ended"

    def __init__(self, task_id: str, status: str) -> None:
        super().__init__(f"The task has ended ({status}).", task_id)


class OutcomeUnknown(Conflict):
    """The task may have been published: look at the platform, then resolve it."""

    code = "outcome_unknown"

    def __init__(self, task_id: str) -> None:
        super().__init__(
            "The task may have been published: look at the platform, then resolve it; force=true sends it again.",
            task_id,
        )


class NothingToDecide(Conflict):
    """The task is not `unknown`."""

    code = "nothing_to_decide"

    def __init__(self, task_id: str, status: str) -> None:
        super().__init__(f"There is nothing to decide: the task is {status}, not unknown.", task_id)


class AlreadyDecided(Conflict):
    """Another person has decided; `decision` says who, what and why."""

    code = "already_decided"

    def __init__(self, task_id: str, *, kind: str, at: str, by: str | None, decision: object) -> None:
        told_by = f" by {by}" if by else ""
        super().__init__(f"It was decided{told_by} at {at}: {kind}.", task_id)
        self.decision = decision


class TaskChanging(Conflict):
    """Another request is changing the task at this moment; repeat this one."""

    code = "task_changing"

    def __init__(self, task_id: str) -> None:
        super().__init__("Another request is changing the task; repeat this one in a moment.", task_id)


class AttemptOpen(Conflict):
    """An attempt of the task may have reached the platform, so its content cannot change any more."""

    code = "attempt_open"

    def __init__(self, task_id: str) -> None:
        super().__init__(
            "An attempt of the task may have reached the platform, so it cannot be edited. Cancel it, look at the "
            "platform, and post it anew if it is not there.",
            task_id,
        )


class RecurrenceExists(Conflict):
    """Another recurring post has the name."""

    code = "recurrence_exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a recurring post named {name!r} already.")


class RecurrenceChanged(Conflict):
    """Other requests kept changing the recurring post; repeat this one."""

    code = "recurrence_changed"

    def __init__(self) -> None:
        super().__init__("Another request changed the recurring post; repeat this one.")


class TasksPending(Conflict):
    """`clear/all` is refused while tasks are unfinished."""

    code = "tasks_pending"

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} tasks are unfinished; cancel them or wait, then clear.")


class KeyInUse(Conflict):
    """The first request with the Idempotency-Key is still being served; afterwards its answer is repeated."""

    code = "idempotency_key_in_use"

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is being served; repeat this one in a moment.")


class KeyReused(Conflict):
    """The Idempotency-Key was used before, with another body or on another route."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used with another body, or on another route.")


class FileInUse(Conflict):
    """Unfinished tasks name the file; `task_ids` has some of them."""

    code = "file_in_use"

    def __init__(self, task_ids: Sequence[str]) -> None:
        named = f": {', '.join(task_ids)}. Cancel them, or wait" if task_ids else ". Wait"
        super().__init__(f"Unfinished tasks name the file{named} for their end.")
        self.task_ids = list(task_ids)


class WrongOffset(Conflict):
    """The upload is at another offset, which `offset` says."""

    code = "wrong_offset"

    def __init__(self, offset: int) -> None:
        super().__init__(f"The upload continues at byte {offset}.")
        self.offset = offset


class UploadLocked(Conflict):
    """Another request is sending to the same upload."""

    code = "upload_locked"

    def __init__(self) -> None:
        super().__init__("Another request is sending to this upload; try again when it has ended.")
        self.retry_after_s = 1
