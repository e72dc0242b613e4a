"""The base class of publishers, its class of guarantee, and the job it gets."""

import abc
import hashlib
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from everpost.errors import SettingsError
from everpost.platforms import Platform
from everpost.publishing.account import Account, UnregisteredAccount
from everpost.publishing.checkpoints import JobKeeper, counted, encode_checkpoint
from everpost.publishing.media import Media
from everpost.publishing.results import PublishResult
from everpost.publishing.trace import SendTrace
from everpost.settings import Settings
from everpost.task.model import PublisherClass

KEY_DIGITS = 32

Options = TypeVar("Options", bound=msgspec.Struct)


class PublishJob(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to publish one task.

    Attributes:
        task_id: The id the client was given.
        data: The client's whole JSON object, unknown fields included. Do not trust it: never use its values in a path.
        platform: The platform; the publisher already has its `options`.
        attempt: 1 for the first.
        idempotency_key: 32 hex digits. The same for every automatic repetition; a retry by a client has another key.
            `look_up` finds a post by it.
        files: The files to publish, in the order of the task; without any, only the metadata is published.
        media: The first of them; None if the task has no files.
        trace: Takes the publisher's reports of its progress; they are the evidence if the outcome stays unknown.
        saved: The task's last checkpoint, by any attempt; None if no attempt saved one.
        keeper: Takes checkpoints and progress; used by the methods.
        account: The account that `account_id` names: its options and credentials.
        trace_context: Headers for a receiver of yours that takes part in the task's trace: `traceparent` and
            `tracestate`. Empty if traces are off.
    """

    task_id: str
    data: Mapping[str, Any]
    platform: Platform
    attempt: int = 1
    idempotency_key: str
    files: tuple[Media, ...] = ()
    media: Media | None = None
    trace: SendTrace = msgspec.field(default_factory=SendTrace)
    saved: Any = None
    keeper: JobKeeper = msgspec.field(default_factory=JobKeeper)
    trace_context: Mapping[str, str] = MappingProxyType({})

    async def checkpoint(self, data: Any) -> None:
        """Keep `data` with the task, in place of the last checkpoint. It is durable when this returns.

        `saved` gives it to the next attempt and to `look_up`, whatever happens to this attempt. Save the handle that
        the platform gives (upload session, container id) before the step that cannot be undone. Clients can see it.

        Args:
            data: JSON: dicts, lists, texts, numbers, booleans and None; at most 64 KB.

        Raises:
            CheckpointError: It is not JSON, or too large; nothing was kept.
            OvertakenError: Another attempt has the task, or it has ended. Nothing was kept: stop sending.
        """
        checkpoint = encode_checkpoint(data)
        await self.keeper.keep(checkpoint)
        msgspec.structs.force_setattr(self, "saved", msgspec.json.decode(checkpoint))

    def progress(self, done: float, total: float | None = None) -> None:
        """Show how far the attempt has come, such as bytes of an upload. It is cheap, and kept only while it runs."""
        if (number := counted(done)) is not None:
            self.keeper.show(number, counted(total))

    def __post_init__(self) -> None:
        """Let `files` and `media` say the same, whichever was given."""
        if self.files:
            msgspec.structs.force_setattr(self, "media", self.files[0])
        elif self.media is not None:
            msgspec.structs.force_setattr(self, "files", (self.media,))

    account: Account = msgspec.field(default_factory=UnregisteredAccount)


class NotFound(StrEnum):
    """What a look-up returns instead of a post."""

    NOT_FOUND = "not_found"  # it does not exist and cannot appear later: the task may be sent
    NO_VERDICT = "no_verdict"


class Publisher(abc.ABC):
    """Publishes tasks to one platform; one instance runs many `publish` calls at a time.

    Args:
        options: The platform's `options` from the catalogue; read them with `read_options`. This constructor accepts
            none.
        settings: The worker's settings.

    Attributes:
        key_lifetime_s: For a keyed publisher: seconds for which the platform is sure to remember a key; None means for
            ever. If set, each attempt is recorded before it is made, so that its age does not depend on Redis.
        can_look_up: For a keyed publisher: it has `look_up` too. It is asked after an attempt of unknown outcome, and
            instead of using the key once the platform may have forgotten it.
        needs_account: It publishes with registered accounts only: a task of another account fails as invalid. Once a
            worker has started with it, such a task is refused when it is posted, unless the catalogue has
            `needs_account = false`.

    Raises:
        SettingsError: An option is unknown, missing or wrong.
    """

    publisher_class: PublisherClass = PublisherClass.NONE
    key_lifetime_s: float | None = None
    can_look_up: bool = False
    needs_account: bool = False

    def __init__(self, options: Mapping[str, Any], settings: Settings) -> None:
        read_options(options, _NoOptions)
        self.settings = settings

    async def open(self) -> None:  # noqa: B027 - most publishers hold nothing open
        """Open what all attempts share, such as an HTTP client. Called once, in the worker's event loop."""

    @abc.abstractmethod
    async def publish(self, job: PublishJob) -> PublishResult:
        """Publish the task once, and return only when the platform has confirmed it.

        Raises:
            PublishError: Why it was not published. Any other exception counts as transient for class `LOCAL`, and as an
                unknown outcome for the others.
        """

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        """Find the post an earlier attempt may have made: for checkable publishers, and keyed ones that `can_look_up`.

        `job.idempotency_key` and the last checkpoint in `job.saved` tell which post it is.
        It only reads. Return NOT_FOUND only if the post cannot appear later; if a platform shows posts late, wait
        first. An exception, or no answer within `LOOK_UP_S` seconds, counts as no verdict.
        """
        del job
        return NotFound.NO_VERDICT

    async def check_account(self, account: Account) -> str | None:
        """Ask the platform whether it accepts the account's credentials; for `everpost accounts test`.

        It only reads, and has `CHECK_S` seconds. The answer says what the platform said, such as the account's name;
        None means that this publisher cannot ask.

        Raises:
            PublishError: Why the account cannot publish.
        """
        del account
        return None

    async def close(self) -> None:  # noqa: B027 - most publishers hold nothing open
        """Close what `open` opened. Called once, when no attempt is running."""


class _NoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a publisher that has none."""


def read_options(options: Mapping[str, Any], into: type[Options]) -> Options:
    """A platform's options as a Struct of the publisher's; give it `forbid_unknown_fields=True`.

    Raises:
        SettingsError: An option is unknown, missing or wrong; the message names it and never shows its value.
    """
    try:
        return msgspec.convert(options, into)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise SettingsError(f"options{path.rstrip('`')}: {message}.") from error


def idempotency_key(chain_id: str, generation: int) -> str:
    """The key of an attempt: 32 hex digits, a digest of the retry chain's first task and the number of its retries."""
    digest = hashlib.sha256(f"{chain_id}:{generation}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:KEY_DIGITS]
