"""The query parameters that say which tasks are meant; lists and exports have the same."""

from typing import Annotated

from litestar.params import QueryParameter

from everpost.task.model import ErrorClass, TaskStatus
from everpost.views.filter_request import CAUSE


def word(description: str, max_length: int = 256) -> QueryParameter:
    """A parameter that is a text of at least one character."""
    return QueryParameter(description=description, min_length=1, max_length=max_length)


Status = Annotated[TaskStatus | None, QueryParameter(description="As stored.")]
Platform = Annotated[str | None, word("A platform's id, name or alias.")]
Account = Annotated[str | None, word("The account.")]
CreatedAfter = Annotated[str | None, word("A date or time, inclusive.")]
CreatedBefore = Annotated[str | None, word("A date or time, exclusive.")]
ClassOfError = Annotated[ErrorClass | None, QueryParameter(description="The class of the task's error.")]
Cause = Annotated[str | None, QueryParameter(pattern=CAUSE, description="As `GET /failures` has it.")]
Words = Annotated[str | None, word("Words in title, error or data.")]
Batch = Annotated[str | None, word("The batch.")]
RetryOf = Annotated[str | None, word("The task that the listed tasks retry.")]
SubmittedBy = Annotated[str | None, word("The name of the caller that submitted them.")]
