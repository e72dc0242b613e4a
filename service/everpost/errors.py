"""Every error Everpost raises on purpose, each with a stable `code`; `api/http/problems.py` maps codes to HTTP answers.

ServiceError
├── BadInput                the request cannot be served; nothing was written
│   ├── MalformedJson       not JSON, not UTF-8, or nested too deeply
│   ├── InvalidValue        JSON, but a value is of the wrong type or range; `path` says which
│   │   ├── UnknownPlatform
│   │   ├── UnknownFile
│   │   ├── UnknownAccount, AccountBlocked
│   │   └── SkippedTime     clocks are put forward over the wanted time
│   ├── BodyTooLarge
│   ├── UnsupportedMedia
│   ├── UnsupportedTransferCoding
│   ├── UnsupportedTus      another version of the upload protocol
│   └── RangeNotSatisfiable
├── Unauthorized
├── LinkRefused
├── ForeignHost, ForeignOrigin   a web page of another site may have made a browser send it
├── TaskNotFound, OperationNotFound, FileNotFound, AccountNotFound, FanoutNotFound, RecurrenceNotFound
├── Conflict                the state of a task forbids it
│   ├── TaskRunning, TaskHeld, TaskSucceeded, TaskEnded, OutcomeUnknown, TasksPending
│   ├── DuplicatePost       the same content was posted to the same account a short time ago
│   ├── RetryExists         an unfinished retry has other data than the request wants
│   ├── NothingToDecide, AlreadyDecided
│   ├── AccountExists
│   ├── TaskChanging        another request is changing the task
│   ├── AttemptOpen         an attempt may have reached the platform, so the content cannot change
│   ├── RecurrenceExists, RecurrenceChanged
│   ├── TaskUnreadable      a stock arq client's message contains nothing to publish
│   ├── KeyInUse            the first request with that Idempotency-Key is still being served
│   ├── KeyReused           the Idempotency-Key was used before with another request
│   ├── FileInUse           unfinished tasks name the file
│   └── WrongOffset, UploadLocked   the upload is at another place, or another request continues it
├── Unavailable             try again after `retry_after_s`
│   ├── DatabaseBusy, DatabaseUnwritable, DiskFull
│   ├── WriteUnconfirmed    the disk failed during the commit: it may have been written
│   ├── DatabaseUnusable    moved, replaced, or made by a newer Everpost: a person must act
│   │   └── DatabaseDamaged
│   ├── QueueUnreachable, AccountNotTested
│   ├── SearchTimeout
│   └── BacklogFull
├── QuotaExceeded
└── SettingsError           at start: a setting that is unknown or cannot be read
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

SHOWN_CHARACTERS = 100  # of a wrong value, so that an answer is never as large as its request


class ServiceError(Exception):
    """The root. `code` is part of the public interface and never changes its meaning.

    Attributes:
        headers: Headers of the HTTP answer, in addition to those of all errors.
    """

    code = "internal_error"
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadInput(ServiceError):
    """The request cannot be served; nothing of it was kept."""

    code = "bad_input"


class MalformedJson(BadInput):
    """The body is not JSON in UTF-8, or is nested more deeply than a task may be."""

    code = "malformed_json"


class InvalidValue(BadInput):
    """A value has the wrong type or range; `path` is its JSON path, `$` the whole body."""

    code = "invalid_value"

    def __init__(self, message: str, path: str = "$") -> None:
        super().__init__(message)
        self.path = path


class UnknownPlatform(InvalidValue):
    """The catalogue has no such platform."""

    code = "unknown_platform"

    def __init__(self, platform: object, known: str) -> None:
        shown = repr(platform)
        shown = shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[:SHOWN_CHARACTERS]}..."
        super().__init__(f"There is no platform {shown}; the catalogue has {known}.", "$.platform")


class UnknownFile(InvalidValue):
    """The task names a file that is not there; upload it first."""

    code = "unknown_file"

    def __init__(self, file_id: str, path: str = "$.file_id") -> None:
        super().__init__(f"There is no file {file_id[:SHOWN_CHARACTERS]!r}.", path)


class UnknownAccount(InvalidValue):
    """The platform publishes with registered accounts only, and the account is not registered."""

    code = "unknown_account"

    def __init__(self, platform: str, account_id: str) -> None:
        shown = repr(account_id[:SHOWN_CHARACTERS])
        super().__init__(
            f"{platform} publishes with registered accounts only, and {shown} is not registered.", "$.account_id"
        )


class AccountBlocked(InvalidValue):
    """The platform has blocked the account for good, so its tasks cannot be published."""

    code = "account_blocked"

    def __init__(self, platform: str, account_id: str, reason: str | None) -> None:
        shown = repr(account_id[:SHOWN_CHARACTERS])
        super().__init__(
            f"The account {shown} of {platform} is blocked for good: {reason or 'no reason is known'}", "$.account_id"
        )


class SkippedTime(InvalidValue):
    """Clocks are put forward over the wanted time in its zone; `neighbours` are the times before and after."""

    code = "skipped_time"

    def __init__(self, wanted: str, zone: str, neighbours: tuple[str, str], path: str = "$") -> None:
        earlier, later = neighbours
        super().__init__(
            f"There is no {wanted} in {zone}, because clocks are put forward over it. Take {earlier} or {later}.", path
        )
        self.neighbours = neighbours


class BodyTooLarge(BadInput):
    """The body, or a line of a stream, is larger than a task may be."""

    code = "body_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than {limit_bytes} bytes.")


class UnsupportedMedia(BadInput):
    """The route does not read this Content-Type."""

    code = "unsupported_media_type"

    def __init__(self, wanted: str) -> None:
        super().__init__(f"Send the body as {wanted}.")


class UnsupportedTransferCoding(BadInput):
    """The Transfer-Encoding is not `chunked`."""

    code = "unsupported_transfer_coding"

    def __init__(self) -> None:
        super().__init__("Send the body unencoded, or as 'Transfer-Encoding: chunked'; no other coding is supported.")


class UnsupportedTus(BadInput):
    """`Tus-Resumable` is another version than 1.0.0, or the request does not have it."""

    code = "unsupported_tus_version"

    def __init__(self) -> None:
        super().__init__("Uploads are continued by version 1.0.0 of tus (tus.io): send Tus-Resumable: 1.0.0.")


class RangeNotSatisfiable(BadInput):
    """The file ends before the range that was asked for."""

    code = "range_not_satisfiable"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"The file has {size_bytes:,} bytes.")
        self.size_bytes = size_bytes


class ForeignHost(ServiceError):
    """No token is set, and the request's Host is neither loopback nor allowed."""

    code = "foreign_host"

    def __init__(self, host: str) -> None:
        super().__init__(
            f"As no EVERPOST_TOKEN is set, requests for the host {host!r} are refused. Use localhost, set a token, "
            "or add the host to EVERPOST_ALLOWED_HOSTS."
        )


class ForeignOrigin(ServiceError):
    """A browser sent the request for a page of another site, which may not change anything."""

    code = "foreign_origin"

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"A page of another site ({origin}) may not change anything here. If the site is yours, add its host to "
            "EVERPOST_ALLOWED_HOSTS."
        )


class Unauthorized(ServiceError):
    """The bearer token is missing or wrong."""

    code = "unauthorized"

    def __init__(self) -> None:
        super().__init__("Send the token as 'Authorization: Bearer …'.")


class LinkRefused(ServiceError):
    """A signed address of a file is wrong or too old."""

    code = "link_refused"

    def __init__(self) -> None:
        super().__init__("This address is not signed by Everpost, or its time is over.")


class TaskNotFound(ServiceError):
    """No store knows the id."""

    code = "task_not_found"

    def __init__(self, task_id: str) -> None:
        super().__init__(f"There is no task {task_id!r}.")


class OperationNotFound(ServiceError):
    """No bulk operation has the id."""

    code = "operation_not_found"

    def __init__(self, operation_id: str) -> None:
        super().__init__(f"There is no operation {operation_id!r}.")


class FileNotFound(ServiceError):
    """No file or upload has the id."""

    code = "file_not_found"

    def __init__(self, file_id: str) -> None:
        super().__init__(f"There is no file {file_id[:SHOWN_CHARACTERS]!r}.")


class AccountNotFound(ServiceError):
    """No such account is registered."""

    code = "account_not_found"

    def __init__(self, platform: str, account_id: str) -> None:
        shown = account_id[:SHOWN_CHARACTERS]
        super().__init__(f"There is no account {shown!r} of {platform[:SHOWN_CHARACTERS]!r}.")


class FanoutNotFound(ServiceError):
    """No fan-out has the id."""

    code = "fanout_not_found"

    def __init__(self, fanout_id: str) -> None:
        super().__init__(f"There is no fan-out {fanout_id!r}.")


class RecurrenceNotFound(ServiceError):
    """No recurring post has the id or name."""

    code = "recurrence_not_found"

    def __init__(self, recurrence_id: str) -> None:
        super().__init__(f"There is no recurring post {recurrence_id[:SHOWN_CHARACTERS]!r}.")


class Conflict(ServiceError):
    """The state of the task forbids the request. `task_id` is the task whose state forbids it."""

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


class TaskUnreadable(Conflict):
    """A stock arq client's message contains nothing to publish; it is kept unchanged."""

    code = "task_unreadable"

    def __init__(self, task_id: str, reason: str) -> None:
        super().__init__(
            f"The message that was enqueued cannot be published: {reason}. It is kept in `raw_job`.", task_id
        )


class TaskHeld(Conflict):
    """The task was unfinished in a restored backup, and is held until a person resumes dispatch."""

    code = "task_held"

    def __init__(self, task_id: str) -> None:
        super().__init__(
            "The task may have been published since the backup that was restored; resume dispatch first.", task_id
        )


class TaskSucceeded(Conflict):
    """The task or a retry of it was already published."""

    code = "task_succeeded"

    def __init__(self, task_id: str) -> None:
        super().__init__("The task was published already; force=true publishes it a second time.", task_id)


class RetryExists(Conflict):
    """A retry of it exists and has not ended."""

    code = "retry_exists"

    def __init__(self, task_id: str) -> None:
        super().__init__(
            "A retry of the task is unfinished and has other data; wait for its end, or retry that one.", task_id
        )


class DuplicatePost(Conflict):
    """The same content was posted to the same account a short time ago."""

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
    """The platform may have accepted the task, so only a person may send it again."""

    code = "outcome_unknown"

    def __init__(self, task_id: str) -> None:
        super().__init__(
            "The task may have been published: look at the platform, then resolve it; force=true sends it again.",
            task_id,
        )


class NothingToDecide(Conflict):
    """The task's outcome is known, or the task has not ended."""

    code = "nothing_to_decide"

    def __init__(self, task_id: str, status: str) -> None:
        super().__init__(f"There is nothing to decide: the task is {status}, not unknown.", task_id)


class AlreadyDecided(Conflict):
    """Another decision about the task came first; the answer has it as `decision`."""

    code = "already_decided"

    def __init__(self, task_id: str, *, kind: str, at: str, by: str | None, decision: object) -> None:
        told_by = f" by {by}" if by else ""
        super().__init__(f"It was decided{told_by} at {at}: {kind}.", task_id)
        self.decision = decision


class TaskChanging(Conflict):
    """Another request is changing the task at this moment."""

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
    """Other requests kept changing the recurring post."""

    code = "recurrence_changed"

    def __init__(self) -> None:
        super().__init__("Another request changed the recurring post; repeat this one.")


class TasksPending(Conflict):
    """`clear/all` while tasks are waiting or running."""

    code = "tasks_pending"

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} tasks are unfinished; cancel them or wait, then clear.")


class KeyInUse(Conflict):
    """The first request with the Idempotency-Key is still being served; afterwards its answer is repeated."""

    code = "idempotency_key_in_use"

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is being served; repeat this one in a moment.")


class KeyReused(Conflict):
    """The Idempotency-Key was used with another request."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used with another body, or on another route.")


class FileInUse(Conflict):
    """Unfinished tasks name the file; `task_ids` has some of them."""

    code = "file_in_use"

    def __init__(self, task_ids: Sequence[str]) -> None:
        super().__init__(f"Unfinished tasks name the file: {', '.join(task_ids)}. Cancel them, or wait for their end.")
        self.task_ids = list(task_ids)


class WrongOffset(Conflict):
    """The upload is at another offset than `Upload-Offset`; ask for it with HEAD."""

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


class Unavailable(ServiceError):
    """Temporarily unavailable; the same request may succeed after `retry_after_s` seconds."""

    code = "unavailable"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DatabaseBusy(Unavailable):
    """Another process kept the database locked."""

    code = "database_busy"

    def __init__(self) -> None:
        super().__init__("The database is locked by another process.")


class DatabaseUnwritable(Unavailable):
    """The disk is full, read-only or failing: nothing can be written, so nothing is accepted."""

    code = "database_unwritable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The database cannot be written: {reason}.", retry_after_s=5)


class WriteUnconfirmed(Unavailable):
    """The disk failed, or the file vanished, during the commit: it is unknown whether it was written.

    After a failed fsync the commit is in SQLite's log, but may not be on the disk; a restart may find it. I2 promises
    only writes that were answered with success. https://sqlite.org/atomiccommit.html#_incomplete_disk_flushes
    """

    code = "write_unconfirmed"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"It is not known whether this was written: {reason.rstrip('.')}. Repeat the request; a post with the same "
            "Idempotency-Key is not made twice.",
            retry_after_s=5,
        )


class DiskFull(Unavailable):
    """The disk has less free space than `EVERPOST_MIN_FREE_DISK`, which is reserved for outcomes of accepted tasks."""

    code = "disk_full"

    def __init__(self, free_bytes: int, least_bytes: int, message: str | None = None) -> None:
        super().__init__(
            message
            or f"The database's disk has {free_bytes:,} bytes left; tasks are accepted only with {least_bytes:,} or "
            "more.",
            retry_after_s=5,
        )


class QuotaExceeded(ServiceError):
    """The uploaded files would have more bytes than `EVERPOST_FILES_QUOTA`."""

    code = "quota_exceeded"

    def __init__(self, quota_bytes: int) -> None:
        super().__init__(f"All files together may have {quota_bytes:,} bytes (EVERPOST_FILES_QUOTA): delete some.")


class DatabaseUnusable(Unavailable):
    """The database file was moved, deleted or replaced, is not a database, or was made by a newer Everpost."""

    code = "database_unusable"

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after_s=60)


class DatabaseDamaged(DatabaseUnusable):
    """The database file is corrupt; a process that notices it stops writing to the file."""

    code = "database_damaged"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The database is damaged ({reason}). Stop every process and restore a backup; without one, "
            "`sqlite3 FILE .recover` saves what can be read."
        )


class QueueUnreachable(Unavailable):
    """Redis does not answer or refuses, so Everpost cannot tell whether a worker holds the task."""

    code = "queue_unreachable"

    def __init__(self, refusal: str | None = None, *, is_password: bool = False) -> None:
        what = " the password" if is_password else ""
        trouble = "Redis does not answer" if refusal is None else f"Redis refuses{what} ({refusal.rstrip('.')})"
        super().__init__(f"{trouble}, so it is not known whether a worker holds the task.")
        self.refusal = refusal
        self.is_password = is_password


class AccountNotTested(Unavailable):
    """No worker tested the account in time; only workers can."""

    code = "account_not_tested"

    def __init__(self, within_s: float) -> None:
        super().__init__(f"No worker has tested the account within {within_s:g} s; is one running?", retry_after_s=5)


class SearchTimeout(Unavailable):
    """A list or search took too long and was stopped, so that it does not slow down other requests."""

    code = "search_timeout"

    def __init__(self, within_s: float) -> None:
        super().__init__(
            f"The search was stopped after {within_s:g} s; narrow it to fewer days, or to one status, account or "
            "platform.",
            retry_after_s=5,
        )


class BacklogFull(Unavailable):
    """More tasks wait than `EVERPOST_MAX_BACKLOG`, or more writes wait than memory may hold."""

    code = "backlog_full"

    def __init__(self, waiting: str) -> None:
        super().__init__(f"{waiting}, the most this service takes.", retry_after_s=5)


class SettingsError(ServiceError):
    """A setting is unknown or cannot be read; the process does not start."""

    code = "settings_error"
