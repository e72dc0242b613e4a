"""Checks the files that a posted task names, before it is accepted."""

from collections.abc import Mapping, Sequence

from everpost.errors import InvalidValue, UnknownFile
from everpost.files.lookup import FileLookup
from everpost.files.probing import Prober
from everpost.media_rules import NamedFile, check_media
from everpost.publishing import PublishError
from everpost.publishing.media import MediaTooLargeError
from everpost.store.files import UPLOADS, FileRecord
from everpost.task.file_refs import FileRef, is_own_id
from everpost.task.submission import PublishRequest, Submission


class SubmittedFiles:
    """Checks that the files are there; a worker checks it again when it publishes the task."""

    def __init__(self, files: FileLookup) -> None:
        self._files = files
        self._prober = Prober()

    async def check(self, submission: Submission) -> Sequence[FileRecord]:
        """Check the files that a task names by their ids; their records.

        Raises:
            UnknownFile: A file has no record.
            InvalidValue: The file of a record is missing, or was changed; or the platform does not take the files.
        """
        records = await self._files.records_of(list(submission.file_ids))
        for path, ref in _named(submission.view):
            if ref.key is not None and ref.key not in records and is_own_id(ref.key):
                raise UnknownFile(ref.key, path)
        for path, ref in _named(submission.view):
            record = records.get(ref.key or "")
            if record is not None and record.root == UPLOADS:  # other folders may be the workers' alone
                await self._check(record, path)
        if submission.platform.has_media_rules:
            await self._check_rules(submission, records)
        return list(records.values())

    async def _check_rules(self, submission: Submission, records: Mapping[str, FileRecord]) -> None:
        platform = submission.platform
        files = [
            await self._facts_of(ref, path, records)
            for path, ref in _named(submission.view)
            if ref.file_path or ref.key in records
        ]
        check_media(platform.name, platform.media, platform.media_min, platform.media_max, files)

    async def _facts_of(self, ref: FileRef, path: str, records: Mapping[str, FileRecord]) -> NamedFile:
        """What is known of a file. One that only a path names is looked at now, if this host has it."""
        if ref.file_path:
            return await self._look_at(ref, path)
        record = records[ref.key or ""]
        return NamedFile(
            path=path,
            content_type=record.content_type,
            size_bytes=record.size_bytes,
            width=record.width,
            height=record.height,
            duration_s=record.duration,
            alt=ref.alt,
        )

    async def _look_at(self, ref: FileRef, path: str) -> NamedFile:
        try:
            media = await self._files.find_path(ref.file_path or "")
        except MediaTooLargeError as error:
            raise InvalidValue(str(error), path) from error
        except PublishError:  # only workers may have the folder
            return NamedFile(path=path, alt=ref.alt)
        facts = await self._prober.facts_of(media.path.absolute(), media.content_type)
        return NamedFile(
            path=path,
            content_type=media.content_type,
            size_bytes=media.size_bytes,
            width=facts.width,
            height=facts.height,
            duration_s=facts.duration_s,
            alt=ref.alt,
        )

    async def _check(self, record: FileRecord, path: str) -> None:
        try:
            await self._files.media_of(record)
        except PublishError as error:
            raise InvalidValue(str(error), path) from error


def _named(view: PublishRequest) -> list[tuple[str, FileRef]]:
    """The files of a task, each with its JSON path."""
    if view.files:
        return [(f"$.files[{number}].file_id", ref) for number, ref in enumerate(view.files)]
    if view.file_path:
        return [("$.file_path", FileRef(file_path=view.file_path))]
    return [] if view.file_id is None else [("$.file_id", FileRef(file_id=view.file_id))]
