"""What a publisher is: the class it declares, the job it is given, the result it returns."""

import abc
import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from everpost.errors import SettingsError
from everpost.platforms import Platform
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
        data: The client's whole JSON object, unknown fields included. A stranger wrote it: no value of it is a path.
        platform: Where to; its `options` are the publisher's own already.
        attempt: 1 for the first.
        idempotency_key: 32 hex digits, the same for every automatic rerun, another for a retry somebody asked for. Also
            the marker `look_up` finds a post by.
        media: The file to publish; None publishes the metadata alone.
        trace: Where a publisher may say how far it has come; it is the evidence if nothing more is heard.
    """

    task_id: str
    data: Mapping[str, Any]
    platform: Platform
    attempt: int = 1
    idempotency_key: str
    media: Media | None = None
    trace: SendTrace = msgspec.field(default_factory=SendTrace)


class NotFound(StrEnum):
    """What a look-up gives instead of a post."""

    NOT_FOUND = "not_found"  # it is not there, and cannot appear any more: it may be sent
    NO_VERDICT = "no_verdict"


class Publisher(abc.ABC):
    """Publishes tasks to one platform; many `publish` calls run at a time on one instance.

    Args:
        options: The platform's `options` of the catalogue; read them with `read_options`. This constructor takes none.
        settings: The worker's.

    Attributes:
        key_lifetime_s: Of a keyed publisher: seconds for which the platform surely remembers a key; None is for ever.
            Where it is set, each attempt is written down before it is made, so that its age outlives Redis.

    Raises:
        SettingsError: An option is unknown, missing or wrong.
    """

    publisher_class: PublisherClass = PublisherClass.NONE
    key_lifetime_s: float | None = None

    def __init__(self, options: Mapping[str, Any], settings: Settings) -> None:
        read_options(options, _NoOptions)
        self.settings = settings

    async def open(self) -> None:  # noqa: B027 - most publishers hold nothing open
        """Open what all attempts share, such as an HTTP client; called once, in the worker's event loop."""

    @abc.abstractmethod
    async def publish(self, job: PublishJob) -> PublishResult:
        """Publish it once, and return only when the platform has said so.

        Raises:
            PublishError: What happened instead. Any other exception is transient for class local, and an unknown
                outcome for the others.
        """

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        """Of a checkable publisher: the post an earlier attempt may have made, found by `job.idempotency_key`.

        Reads only. Answer NOT_FOUND only if the post cannot appear any more; give a platform that shows posts late its
        time first. An exception is no verdict, and so is no answer within `LOOK_UP_S` seconds.
        """
        del job
        return NotFound.NO_VERDICT

    async def close(self) -> None:  # noqa: B027 - most publishers hold nothing open
        """Close what `open` opened; called once, when no attempt is running."""


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
    """The key of an attempt: 32 hex digits, a digest of the retry chain's first task and its deliberate retries."""
    digest = hashlib.sha256(f"{chain_id}:{generation}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:KEY_DIGITS]
