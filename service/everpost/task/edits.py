"""Edited data of a task: a JSON merge patch (RFC 7396), and the checks that a submission passes."""

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

import msgspec

from everpost.errors import BodyTooLarge, InvalidValue
from everpost.task.merge_patch import merge_patch
from everpost.task.submission import Submission, SubmissionReader

PATH = "$.data"  # of the patch in a request, unless its whole body is the patch


class Edit(msgspec.Struct, frozen=True):
    """A change of tasks' data.

    Attributes:
        patch: The merge patch.
        max_bytes: The largest data that is accepted.
        path: The JSON path of the patch in the request.
    """

    patch: Mapping[str, Any]
    reader: SubmissionReader
    max_bytes: int
    path: str = PATH

    def apply(self, data: Mapping[str, Any], now_ms: int, zone: tzinfo | None = None) -> Submission:
        """The edited data, checked like a new submission.

        Args:
            zone: The time zone of its account.

        Raises:
            InvalidValue: The edited data is not valid; the path begins at the patch's place in the request.
            BodyTooLarge: The edited data is too large.
        """
        try:
            submission = self.reader.check(merge_patch(data, self.patch), now_ms, zone)
        except InvalidValue as error:
            error.path = self.path + error.path.removeprefix("$")
            raise
        if len(submission.task_data) > self.max_bytes:
            raise BodyTooLarge(self.max_bytes)
        return submission
