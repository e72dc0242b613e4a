"""Checks what a task names and the store must have: its files and its account."""

from everpost.actions.accounts import AccountAdmin
from everpost.actions.submitted_files import SubmittedFiles
from everpost.task.submission import Submission


class NamedThings:
    """Checks them before the task is accepted."""

    def __init__(self, files: SubmittedFiles, accounts: AccountAdmin) -> None:
        self._files = files
        self._accounts = accounts

    async def check(self, submission: Submission) -> None:
        """Check a task. It costs nothing if there is nothing to check.

        Raises:
            InvalidValue: The store does not have what it names, or the platform does not take it.
            AccountBlocked: Its account is blocked for good.
        """
        if submission.file_ids or submission.platform.has_media_rules:
            await self._files.check(submission)
        if self._accounts.directory.need(submission.platform):
            await self._accounts.check_named(submission.platform.name, submission.view.account_id)
