"""The list of a task's attempts, as JSON in its row."""

from typing import Any

import msgspec

from everpost.store.postgresql.link.texts import json_text
from everpost.task.model import Attempt, ErrorClass


class Attempts:
    """The attempts in one row. If another program wrote a column that is not a list of objects, it counts as empty."""

    def __init__(self, column: str | None) -> None:
        self.text: str | None = column
        try:
            self._items = msgspec.json.decode(column or "[]", type=list[msgspec.Raw])
            self._known = msgspec.json.decode(column or "[]", type=list[dict[str, Any]])
        except (msgspec.MsgspecError, RecursionError):
            self._items, self._known, self.text = [], [], None

    @property
    def numbers(self) -> set[Any]:
        """The numbers of the attempts."""
        return {known.get("number") for known in self._known}

    def has(self, attempt: Attempt) -> bool:
        """Whether the attempt was added before."""
        return any(
            (known.get("number"), known.get("worker"), known.get("finished_at"))
            == (attempt.number, attempt.worker, attempt.finished_at)
            for known in self._known
        )

    def add(self, attempt: Attempt) -> None:
        """Add an attempt. A run of rate limits lists its first and its last, with the number of those between."""
        if attempt.error_class is ErrorClass.RATE_LIMITED and self._ends_with_limits():
            omitted = self._known[-1].get("omitted", 0)
            attempt = msgspec.structs.replace(attempt, omitted=(omitted if isinstance(omitted, int) else 0) + 1)
            self._put(len(self._items) - 1, attempt)
        else:
            self._put(len(self._items), attempt)

    def add_late(self, attempt: Attempt, **changes: Any) -> None:
        """Add an attempt that reported too late, once."""
        if not self.has(attempt):
            self._put(len(self._items), msgspec.structs.replace(attempt, late=True, **changes))

    def add_lost(self, attempt: Attempt) -> None:
        """Add an attempt that never reported."""
        self._put(len(self._items), attempt)

    def _put(self, index: int, attempt: Attempt) -> None:
        text = json_text(attempt)
        self._items[index:] = [msgspec.Raw(text.encode())]
        self._known[index:] = [msgspec.json.decode(text)]
        self.text = msgspec.json.encode(self._items).decode()

    def _ends_with_limits(self) -> bool:
        last = self._known[-2:]
        return [known.get("error_class") for known in last] == [ErrorClass.RATE_LIMITED] * 2 and "late" not in last[-1]
