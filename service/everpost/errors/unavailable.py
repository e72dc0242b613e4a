"""The request can be served later; try again after `retry_after_s`."""

from everpost.errors.base import ServiceError


class Unavailable(ServiceError):
    """Temporarily unavailable; retry after `Retry-After` seconds."""

    code = "unavailable"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DatabaseBusy(Unavailable):
    """Another process keeps the database locked."""

    code = "database_busy"

    def __init__(self) -> None:
        super().__init__("The database is locked by another process.")


class DatabaseUnwritable(Unavailable):
    """Nothing is accepted: the disk is full, read-only, failing, or has not answered for 2 s."""

    code = "database_unwritable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The database cannot be written: {reason}.", retry_after_s=5)


class WriteUnconfirmed(Unavailable):
    """It is unknown whether the write succeeded: the disk or the file failed. Repeat a post with its `Idempotency-Key`.

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


class DatabaseUnusable(Unavailable):
    """The database file was moved or replaced, or was made by a newer Everpost: a person must act."""

    code = "database_unusable"

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after_s=60)


class DatabaseDamaged(DatabaseUnusable):
    """The database file is corrupt: Everpost stops writing to it; restore a backup."""

    code = "database_damaged"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The database is damaged ({reason}). Stop every process and restore a backup; without one, "
            "`sqlite3 FILE .recover` saves what can be read."
        )


class QueueUnreachable(Unavailable):
    """Redis is unreachable, so Everpost cannot tell whether a worker holds the task."""

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
    """A search or filtered list took longer than 5 s and was stopped: narrow it."""

    code = "search_timeout"

    def __init__(self, within_s: float) -> None:
        super().__init__(
            f"The search was stopped after {within_s:g} s; narrow it to fewer days, or to one status, account or "
            "platform.",
            retry_after_s=5,
        )


class BacklogFull(Unavailable):
    """More tasks wait than `EVERPOST_MAX_BACKLOG`, or 4,096 writes or 64 MB wait for a slow disk."""

    code = "backlog_full"

    def __init__(self, waiting: str) -> None:
        super().__init__(f"{waiting}, the most this service takes.", retry_after_s=5)
