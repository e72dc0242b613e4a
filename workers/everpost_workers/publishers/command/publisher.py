"""The publisher `command`: gives each task to a program of the operator, and reads from it how that went."""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from everpost.publishing import (
    Account,
    CheckpointError,
    InvalidError,
    Media,
    NotFound,
    PermanentError,
    Platform,
    Publisher,
    PublisherClass,
    PublishJob,
    PublishResult,
    TransientError,
)
from everpost.settings import Settings
from everpost_workers.publishers.command.dialogue import Dialogue
from everpost_workers.publishers.command.messages import Action, Request, write_line
from everpost_workers.publishers.command.options import Commands, read_commands
from everpost_workers.publishers.command.program import (
    Ended,
    Launch,
    NotStartedError,
    OutputError,
    run_program,
)

FOLDER_PREFIX = "everpost-command-"
CREDENTIALS_FILE = "credentials.json"
CREDENTIAL = "CREDENTIAL_"  # begins the name of a variable with a credential
MEGABYTE = 1 << 20
NO_PLATFORM = Platform(id=1, name="none", publisher="command")  # of a check, which is about an account only
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}\Z")
_NOT_IN_VARIABLES = re.compile("[^A-Z0-9_]")


class CommandPublisher(Publisher):
    """Runs a program for each attempt. Its class is `NONE`, unless the options say how a repetition is made safe.

    Raises:
        SettingsError: An option is unknown or wrong, or a program does not exist.
    """

    def __init__(self, options: Mapping[str, Any], settings: Settings) -> None:
        self._commands: Commands = read_commands(options, settings)
        self._options = self._commands.options
        self.key_lifetime_s = self._options.key_lifetime_s
        if self._commands.look_up is not None:
            self.publisher_class = PublisherClass.CHECKABLE
        elif self.key_lifetime_s is not None:
            self.publisher_class = PublisherClass.KEYED

    async def publish(self, job: PublishJob) -> PublishResult:
        """Run `command` once.

        Raises:
            PublishError: What the program reported, or what its exit code means.
        """
        dialogue, ended = await self._run(self._commands.publish, Action.PUBLISH, job)
        return dialogue.post(ended, self._commands.exit_codes)

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        """Run the command `look_up` once."""
        if self._commands.look_up is None:
            return NotFound.NO_VERDICT
        dialogue, ended = await self._run(self._commands.look_up, Action.LOOK_UP, job)
        return dialogue.found(ended)

    async def check_account(self, account: Account) -> str | None:
        """Run the command `check` once.

        Raises:
            PublishError: Why the account cannot publish.
        """
        if self._commands.check is None:
            return None
        job = PublishJob(task_id="", data={}, platform=NO_PLATFORM, idempotency_key="", account=account)
        dialogue, ended = await self._run(self._commands.check, Action.CHECK_ACCOUNT, job)
        return dialogue.said(ended, self._commands.exit_codes)

    async def _run(self, argv: tuple[str, ...], action: Action, job: PublishJob) -> tuple[Dialogue, Ended]:
        credentials = await job.account.credentials() if job.account.is_registered else {}
        dialogue = Dialogue(job)
        try:
            launch = await asyncio.to_thread(self._prepare, argv, action, job, credentials)
        except OSError as error:
            raise TransientError(f"The program's folder cannot be made: {error.strerror}.") from error
        try:
            async with asyncio.timeout(self._options.timeout_s):
                ended = await run_program(launch, dialogue.hear)
        except TimeoutError:
            ended = Ended(cut_off=f"it took more than {self._options.timeout_s:g} s")
        except (OutputError, CheckpointError) as error:
            ended = Ended(cut_off=str(error))
        except NotStartedError as error:
            kind = TransientError if error.may_pass else PermanentError
            raise kind(f"{argv[0]} cannot be started: {error}.") from error
        return dialogue, ended

    def _prepare(
        self, argv: tuple[str, ...], action: Action, job: PublishJob, credentials: Mapping[str, str]
    ) -> Launch:
        """Make the program's folder, and all that it is given. The folder is the guard's from then on."""
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))  # only this user can read it
        try:
            return Launch(
                argv=argv,
                environment=self._environment(folder, credentials),
                folder=folder,
                request=self._request(action, job, credentials, folder),
                grace_s=self._options.grace_s,
                memory_bytes=self._options.memory_mb * MEGABYTE,
                most_output_bytes=self._options.max_output_bytes,
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _environment(self, folder: Path, credentials: Mapping[str, str]) -> dict[str, str]:
        environment = {**self._commands.environment, "TMPDIR": str(folder)}
        if self._options.credentials == "environment":
            environment |= {_variable_of(name): value for name, value in credentials.items()}
        return environment

    def _request(self, action: Action, job: PublishJob, credentials: Mapping[str, str], folder: Path) -> bytes:
        credentials_file = None
        if self._options.credentials == "file" and credentials:
            credentials_file = folder / CREDENTIALS_FILE
            _write_private(credentials_file, msgspec.json.encode(credentials))
        request = Request(
            action=action,
            task_id=job.task_id,
            platform="" if job.platform is NO_PLATFORM else job.platform.name,
            attempt=job.attempt,
            idempotency_key=job.idempotency_key,
            data=job.data,
            files=[_describe(media, number, folder) for number, media in enumerate(job.files, 1)],
            account={"id": job.account.id, "options": dict(job.account.options)},
            checkpoint=job.saved,
            folder=str(folder),
            credentials_file=None if credentials_file is None else str(credentials_file),
        )
        try:
            return write_line(request)
        except (UnicodeEncodeError, TypeError, RecursionError) as error:
            raise InvalidError(f"The task cannot be written as JSON: {type(error).__name__}.") from error


def _describe(media: Media, number: int, folder: Path) -> dict[str, Any]:
    """The file for the program: a link with a plain name, since an uploaded file has no suffix where it is kept."""
    media.open_file().close()  # checks the path again
    link = folder / f"file-{number}{plain_suffix(media.filename)}"
    link.symlink_to(media.path.absolute())
    return {
        "path": str(link),
        "filename": media.filename,
        "content_type": media.content_type,
        "size_bytes": media.size_bytes,
        "sha256": media.sha256,
        "alt": media.alt,
    }


def plain_suffix(filename: str) -> str:
    """The suffix of a file's name, if it is a plain one."""
    found = _SUFFIX.search(filename)
    return found.group().lower() if found else ""


def _variable_of(name: str) -> str:
    return CREDENTIAL + _NOT_IN_VARIABLES.sub("_", name.upper())


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
