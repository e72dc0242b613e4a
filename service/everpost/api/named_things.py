"""Checks what a task names and the store must have: its files and its account."""

from everpost.api.services import Services
from everpost.task.submission import Submission


def names_something(submission: Submission) -> bool:
    """Whether `check_named_things` has anything to check."""
    platform = submission.platform
    return bool(submission.file_ids) or platform.needs_account or platform.has_media_rules


async def check_named_things(services: Services, submission: Submission) -> None:
    """Check the files of a task, and its account if the platform needs a registered one.

    Raises:
        InvalidValue: The store does not have one of them.
    """
    if submission.file_ids or submission.platform.has_media_rules:
        await services.submitted_files.check(submission)
    if submission.platform.needs_account:
        await services.accounts.check_named(submission.platform.name, submission.view.account_id)
