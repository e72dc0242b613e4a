"""Checks the files that a posted task names, before it is accepted."""

from collections.abc import Sequence

from everpost.errors import InvalidValue, UnknownFile
from everpost.files.lookup import FileLookup
from everpost.publishing import PublishError
from everpost.store.files import UPLOADS, FileRecord
from everpost.task.file_refs import FileRef, is_own_id
from everpost.task.submission import PublishRequest, Submission


class SubmittedFiles:
    """Checks that the files are there; a worker checks it again when it publishes the task."""

    def __init__(self, files: FileLookup) -> None:
        self._files = files

    async def check(self, submission: Submission) -> Sequence[FileRecord]:
        """Check the files that a task names by their ids; their records.

        Raises:
            UnknownFile: A file has no record.
            InvalidValue: The file of a record is missing, or was changed.
        """
        records = await self._files.records_of(list(submission.file_ids))
        for path, ref in _named(submission.view):
            if ref.key is not None and ref.key not in records and is_own_id(ref.key):
                raise UnknownFile(ref.key, path)
        for path, ref in _named(submission.view):
            record = records.get(ref.key or "")
            if record is not None and record.root == UPLOADS:  # other folders may be the workers' alone
                await self._check(record, path)
        return list(records.values())

    async def _check(self, record: FileRecord, path: str) -> None:
        try:
            await self._files.media_of(record)
        except PublishError as error:
            raise InvalidValue(str(error), path) from error


def _named(view: PublishRequest) -> list[tuple[str, FileRef]]:
    """The files of a task, each with its JSON path."""
    if view.files:
        return [(f"$.files[{number}].file_id", ref) for number, ref in enumerate(view.files)]
    return [("$.file_id", FileRef(file_id=view.file_id, file_path=view.file_path))]
