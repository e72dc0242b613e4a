"""Leaves out of tasks what the list of hidden names says; see `everpost.redaction`."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from everpost.errors import InvalidValue
from everpost.known_secrets import HIDDEN, KnownSecrets
from everpost.redaction import USUALLY, Redactor, known
from everpost.store.history import IdMatch, RawJob, TaskDetail
from everpost.task.edit_rules import KeptEdit
from everpost.task.resolution_rules import Decided

Row = TypeVar("Row", bound=msgspec.Struct)

WORDS = ("error_message", "provider_post_id", "publish_url")
PLAIN = ("result", "checkpoint", "attempts")
MEMBERS = ("title", "account_id")
"""Members of a task's data that have fields of their own."""


class Hiding:
    """Hides members of tasks, and their values in the words of errors, results and decisions of the same task."""

    def __init__(self, redactor: Redactor = USUALLY) -> None:
        self.redactor = redactor
        self._hidden_members = tuple(name for name in MEMBERS if redactor.hides_member(name))

    def detail(self, task: TaskDetail) -> TaskDetail:
        """The task without what is hidden."""
        found: list[str] = []
        data = None if task.task_data is None else self.redactor.hide_members(task.task_data, found)
        edits = [self._edit(edit, found) for edit in task.edits]
        secrets = known(found)
        plain = {name: self._told(getattr(task, name), secrets) for name in (*PLAIN, *WORDS)}
        decisions = [self._decision(decision, secrets) for decision in task.decisions]
        return replace(
            task,
            task_data=data,
            edits=edits,
            decisions=decisions,
            task_data_text=self.damaged(task.task_data_text),
            raw_job=self._raw_job(task.raw_job),
            **plain,
            **self._members(task),
        )

    def row(self, row: Row) -> Row:
        """A row of a list, or an event. It has no data, so only the names of its own fields and of parameters count."""
        hidden = self._members(row)
        for name in WORDS:
            text = getattr(row, name, None)
            if isinstance(text, str) and (shown := self.redactor.hide_text(text)) != text:
                hidden[name] = shown
        return replace(row, **hidden) if hidden else row

    def match(self, match: IdMatch) -> IdMatch:
        """An id that was found."""
        return replace(match, title=HIDDEN) if "title" in self._hidden_members and match.title else match

    def members(self, data: Mapping[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
        """The members of a task's data."""
        return self.redactor.hide_members(data)

    def damaged(self, text: str | None) -> str | None:
        """Data that is not JSON: it is hidden whole if it may have one of the names."""
        return HIDDEN if text is not None and self.redactor.may_name(text.encode()) else text

    def unshown(self, patch: Mapping[str, Any], path: str = "$") -> dict[str, Any]:
        """A patch of a task's data without what came back as it was shown; `path` is its place in the request.

        Raises:
            InvalidValue: A hidden value is in a list, which a patch replaces whole.
        """
        try:
            return self.redactor.without_hidden(patch)
        except ValueError as error:
            raise InvalidValue(f"{error}.", path) from error

    def _members(self, task: msgspec.Struct) -> dict[str, str]:
        return {name: HIDDEN for name in self._hidden_members if getattr(task, name, None)}

    def _told(self, value: Any, secrets: KnownSecrets) -> Any:
        return secrets.hide_in(self.redactor.hide_in(value))

    def _edit(self, edit: KeptEdit, found: list[str]) -> KeptEdit:
        patch, before = (self.redactor.hide_json(bytes(part), found) for part in (edit.patch, edit.before))
        return replace(edit, patch=msgspec.Raw(patch), before=msgspec.Raw(before))

    def _decision(self, decision: Decided, secrets: KnownSecrets) -> Decided:
        told = {
            name: self._told(getattr(decision, name), secrets) for name in ("why", "provider_post_id", "publish_url")
        }
        return replace(decision, **told)

    def _raw_job(self, job: RawJob | None) -> RawJob | None:
        """A message that could not be parsed. It is hidden whole if it contains one of the names."""
        if job is None or not self.redactor.may_name(_decoded(job.base64)):
            return job
        return RawJob(size_bytes=job.size_bytes, text=HIDDEN, base64="")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (ValueError, binascii.Error):
        return text.encode()
