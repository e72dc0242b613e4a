"""Edited data of a task: a JSON merge patch (RFC 7396), and the checks that a submission passes."""

from collections.abc import Mapping
from typing import Any

import msgspec

from everpost.errors import BodyTooLarge, InvalidValue
from everpost.task.submission import Submission, SubmissionReader

PATH = "$.data"  # of the patch in a request


class Edit(msgspec.Struct, frozen=True):
    """A change of tasks' data.

    Attributes:
        patch: The merge patch.
        max_bytes: The largest data that is accepted.
    """

    patch: Mapping[str, Any]
    reader: SubmissionReader
    max_bytes: int

    def apply(self, data: Mapping[str, Any], now_ms: int) -> Submission:
        """The edited data, checked like a new submission.

        Raises:
            InvalidValue: The edited data is not valid; the path begins at the patch's place in the request.
            BodyTooLarge: The edited data is too large.
        """
        try:
            submission = self.reader.check(merge_patch(data, self.patch), now_ms)
        except InvalidValue as error:
            error.path = PATH + error.path.removeprefix("$")
            raise
        if len(submission.task_data) > self.max_bytes:
            raise BodyTooLarge(self.max_bytes)
        return submission


def merge_patch(target: Any, patch: Any) -> Any:
    """`target` with a JSON merge patch applied (RFC 7396 §2); neither is changed.

    A member that is null in the patch is removed. Everything else that is not an object replaces what was there.
    """
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
