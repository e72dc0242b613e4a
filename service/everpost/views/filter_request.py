"""Reads the filter of lists and of bulk work, as clients write it."""

from datetime import tzinfo
from typing import Annotated

import msgspec
from msgspec import Meta

from everpost.clock import read_time
from everpost.errors import InvalidValue
from everpost.platforms import Catalogue
from everpost.store.history import TaskFilter
from everpost.task.model import ErrorClass, TaskStatus

CAUSE = "^[0-9a-f]{12}$"
Text = Annotated[str, Meta(min_length=1, max_length=256)]


class FilterRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tasks that match every field given."""

    status: TaskStatus | None = None
    platform: Annotated[int | str, Meta(description="A platform's id, name or alias")] | None = None
    account_id: Text | None = None
    created_after: Annotated[Text, Meta(description="A date or time, inclusive")] | None = None
    created_before: Annotated[Text, Meta(description="A date or time, exclusive")] | None = None
    error_class: ErrorClass | None = None
    cause: Annotated[str, Meta(pattern=CAUSE, description="A cause of failures: GET /failures has them")] | None = None
    q: Annotated[Text, Meta(description="Words in title, error or payload")] | None = None
    batch_id: Text | None = None
    retry_of: Text | None = None
    submitted_by: Annotated[Text, Meta(description="The name of the caller that submitted it")] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it matches every task."""
        return all(getattr(self, name) is None for name in self.__struct_fields__)


def task_filter(wanted: FilterRequest, catalogue: Catalogue, zone: tzinfo, prefix: str = "$.") -> TaskFilter:
    """The store's filter. `prefix` stands before a field's name in the path of an error.

    Raises:
        InvalidValue: A time cannot be read.
        UnknownPlatform: The catalogue has no such platform.
    """
    try:
        return _filter(wanted, catalogue, zone)
    except InvalidValue as error:
        error.path = prefix + error.path.removeprefix("$.")
        raise


def _filter(wanted: FilterRequest, catalogue: Catalogue, zone: tzinfo) -> TaskFilter:
    platform = wanted.platform
    return TaskFilter(
        status=wanted.status,
        platform=None if platform is None else catalogue.spellings(catalogue.find(platform)),
        account_id=wanted.account_id,
        created_after_ms=_time_ms("created_after", wanted.created_after, zone),
        created_before_ms=_time_ms("created_before", wanted.created_before, zone),
        error_class=wanted.error_class,
        cause=wanted.cause,
        q=wanted.q,
        batch_id=wanted.batch_id,
        retry_of=wanted.retry_of,
        submitted_by=wanted.submitted_by,
    )


def _time_ms(field: str, text: str | None, zone: tzinfo) -> int | None:
    try:
        return None if text is None else read_time(text, zone)
    except (ValueError, OverflowError) as error:
        raise InvalidValue(f"{text!r} is not a date or time.", f"$.{field}") from error
