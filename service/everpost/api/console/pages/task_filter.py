"""The filter of a page of tasks, as its address and its forms have it."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from everpost.api.services import Services
from everpost.errors import UnknownPlatform
from everpost.store.history import TaskFilter
from everpost.task.submission import invalid_value
from everpost.views.filter_request import FilterRequest, task_filter

FIELDS = FilterRequest.__struct_fields__
COLUMNS = ("status", "task", "account", "outcome", "attempts", "priority", "due", "batch", "by", "accepted", "changed")
SHOWN_COLUMNS = ("status", "task", "account", "outcome", "changed")


class WantedTasks(msgspec.Struct, frozen=True, kw_only=True):
    """What the address of a page of tasks asks for.

    Attributes:
        given: The fields of the filter that are given, as texts.
        columns: The chosen columns, in the order of `COLUMNS`.
    """

    given: Mapping[str, str]
    columns: Sequence[str] = SHOWN_COLUMNS
    cursor: str | None = None

    @property
    def fields(self) -> Mapping[str, str]:
        """All fields of the filter; those that are not given are empty."""
        return {name: self.given.get(name, "") for name in FIELDS}

    def query(self, **changed: str | None) -> str:
        """The query of the address with some fields changed; None removes one. It begins at the first page."""
        fields = {**self.given, **changed}
        pairs = [(name, fields[name]) for name in FIELDS if fields.get(name)]
        if self.columns != SHOWN_COLUMNS:
            pairs += [("column", column) for column in self.columns]
        if cursor := changed.get("cursor"):
            pairs.append(("cursor", cursor))
        return f"?{urlencode(pairs)}" if pairs else ""

    def export_query(self) -> str:
        """The query of the address that exports the tasks."""
        return f"?{urlencode([('format', 'csv'), *self.given.items()])}"


def read_wanted(pairs: Sequence[tuple[str, str]]) -> WantedTasks:
    """What the pairs of an address or form ask for. Empty fields, which forms have, are not given."""
    fields = {name: value.strip() for name, value in pairs}
    chosen = [value for name, value in pairs if name == "column"]
    return WantedTasks(
        given={name: fields[name] for name in FIELDS if fields.get(name)},
        columns=tuple(column for column in COLUMNS if column in {*chosen, "task"}) if chosen else SHOWN_COLUMNS,
        cursor=fields.get("cursor") or None,
    )


def filter_of(services: Services, given: Mapping[str, Any]) -> TaskFilter:
    """The store's filter.

    Raises:
        InvalidValue: A field does not fit.
        UnknownPlatform: The catalogue has no such platform.
    """
    try:
        wanted = msgspec.convert(dict(given), FilterRequest)
    except msgspec.ValidationError as error:
        raise invalid_value(error) from error
    return task_filter(wanted, services.catalogue, services.settings.zone)


def platform_name(services: Services, text: str) -> str:
    """The catalogue's name of a platform that people write in several ways. An unknown text stays as it is."""
    try:
        return services.catalogue.find(text).name
    except UnknownPlatform:
        return text
