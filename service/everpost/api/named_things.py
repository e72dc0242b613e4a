"""Reads a task with what it names and the store must have: its files, its account, and the account's time zone."""

from typing import Any

import msgspec

from everpost.access import Caller
from everpost.api.http.file_reach import need_files_in_reach
from everpost.api.http.reach import need_reach
from everpost.api.services import Services
from everpost.store.account_zones import KnownZones
from everpost.task.schedule_times import needs_zone
from everpost.task.submission import Submission


async def read_submission(
    services: Services, data: Any, known: KnownZones | None = None, *, caller: Caller
) -> Submission:
    """The task in a decoded JSON value.

    Args:
        known: Remembers the zones of accounts while one request is read.

    Raises:
        InvalidValue: A value has the wrong type or range, or the store does not have what it names, or the caller does
            not reach the account or a file.
    """
    zone = await services.zones.of_data(data, known) if needs_zone(data) else None
    submission = services.reader.check(data, services.clock(), zone)
    if caller.is_limited:
        need_reach(caller, submission.platform.name, submission.view.account_id)
        await need_files_in_reach(services, caller, data)
    if submission.file_ids or submission.platform.has_media_rules:
        await services.submitted_files.check(submission)
    if services.accounts.directory.need(submission.platform):
        await services.accounts.check_named(submission.platform.name, submission.view.account_id)
    if caller.submits_as is not None:
        return msgspec.structs.replace(submission, submitted_by=caller.name)
    return submission
