"""What a request names does not exist."""

from everpost.errors.base import SHOWN_CHARACTERS, ServiceError


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
