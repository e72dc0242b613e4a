"""Keeps callers with a scope to the uploads that are theirs, or that unfinished tasks in their scope name."""

from collections.abc import Mapping, Sequence
from typing import Any

from everpost.access import Caller
from everpost.api.http.reach import is_reached, reach_of
from everpost.api.http.rights import caller_of
from everpost.api.services import ApiRequest, Services, services_of
from everpost.errors import FileInUse, FileNotFound, OutOfScope, UnknownFile
from everpost.store.files import UPLOADS, FileRecord, Upload
from everpost.task.file_refs import keys_of
from everpost.views.shown_tasks import decoded


def is_own(caller: Caller, file: FileRecord | Upload) -> bool:
    """Whether a caller may change a file or an upload: it has no scope, or has uploaded it."""
    return not caller.is_limited or file.submitted_by == caller.name


async def is_file_reached(services: Services, caller: Caller, file: FileRecord | Upload) -> bool:
    """Whether a caller may see a file, or an upload that is not complete.

    Files that were not uploaded are there for all callers: those of EVERPOST_MEDIA and of registered folders.
    """
    if is_own(caller, file):
        return True
    if isinstance(file, Upload):
        return False
    return file.root != UPLOADS or bool(await services.store.files.users(file.file_id, reach_of(services, caller)))


async def is_named_by(request: ApiRequest, task_id: str, file_id: str) -> bool:
    """Whether a task that the caller reaches names a file. The task may have ended."""
    if not await is_reached(request, task_id):
        return False
    task = (await services_of(request).tasks.show(task_id)).task
    return file_id in keys_of(decoded(task.task_data) or {})


async def need_files_in_reach(services: Services, caller: Caller, data: Any, path: str = "$") -> None:
    """Refuse a task, or a patch of one, that names another caller's upload.

    Raises:
        UnknownFile: The caller does not reach the file; the same as if it were not there.
    """
    if not caller.is_limited or not (named := _named_in(data)):
        return
    records = await services.files.records_of(list(named))
    for key, record in records.items():
        if not await is_file_reached(services, caller, record):
            raise UnknownFile(key, path + named[key])


def _named_in(data: Any) -> Mapping[str, str]:
    """All file ids in a task's data, each with its path; also those beside a `file_path`, which a patch may remove."""
    if not isinstance(data, Mapping):
        return {}
    files = data.get("files")
    listed = files if isinstance(files, list) else []
    places = [(".file_id", data), *((f".files[{number}].file_id", one) for number, one in enumerate(listed))]
    return {
        str(one["file_id"]): path
        for path, one in places
        if isinstance(one, Mapping) and isinstance(one.get("file_id"), str | int)
    }


async def check_deletable(services: Services, caller: Caller, file_id: str) -> None:
    """Return if a caller with a scope may delete a file or end an upload.

    Raises:
        FileNotFound: The caller does not reach it.
        FileInUse: Another caller uploaded it, and tasks in the scope name it.
        OutOfScope: It was not uploaded, so it is there for all callers.
    """
    record = (await services.store.files.find([file_id])).get(file_id)
    file = record or await services.store.files.find_upload(file_id)
    if file is None or not await is_file_reached(services, caller, file):
        raise FileNotFound(file_id)
    if is_own(caller, file):
        return
    if record is not None and record.root != UPLOADS:
        raise OutOfScope(caller.name)
    raise FileInUse(await services.store.files.users(file_id, reach_of(services, caller)))


async def shown_users(request: ApiRequest, file_id: str) -> Sequence[str]:
    """The unfinished tasks that name a file and that the caller reaches."""
    services = services_of(request)
    return await services.store.files.users(file_id, reach_of(services, caller_of(request)))
