"""A task of a list, made of a store's row."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

import msgspec

from everpost.clock import utc_text
from everpost.store.history import TaskRow
from everpost.task.model import Evidence
from everpost.task.place import Place

_TIMES = ("created_at", "updated_at", "due_at", "started_at", "completed_at")
_FIELDS = TaskRow.__struct_fields__
_PLACES = {place.value: place for place in Place}


def task_row(row: Sequence[Any], zone: tzinfo) -> TaskRow:
    """The task of a row that has the fields of `TaskRow`, as stored, and then its key. A page has up to a thousand."""
    fields = dict(zip(_FIELDS, row, strict=False))
    for name in _TIMES:
        fields[name] = utc_text(fields[name], zone)
    fields["place"] = _PLACES[fields["place"]]
    fields["inherited"] = bool(fields["inherited"])
    fields["status"] = fields["status"] or ""
    if fields["evidence"] is not None:
        fields["evidence"] = msgspec.json.decode(fields["evidence"], type=Evidence)
    return TaskRow(**fields)
