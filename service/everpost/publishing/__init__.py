"""What a publisher imports: its base class, the job it gets, the result it returns, the errors it raises.

These names are the public interface, which docs/publishers.md describes. The modules of this package are not public.

    from everpost.publishing import Publisher, PublishJob, PublishResult

    class MyPublisher(Publisher):
        async def publish(self, job: PublishJob) -> PublishResult: ...
"""

from everpost.errors import SettingsError
from everpost.platforms import Platform
from everpost.publishing.account import Account, Tokens, UnregisteredAccount
from everpost.publishing.checkpoints import CheckpointError, JobKeeper
from everpost.publishing.errors import (
    AccountBlockedError,
    AuthError,
    InvalidError,
    ManualError,
    NeedsPersonError,
    OutcomeUnknownError,
    OvertakenError,
    PermanentError,
    PublishError,
    RateLimitedError,
    TransientError,
)
from everpost.publishing.interface import NotFound, Publisher, PublishJob, idempotency_key, read_options
from everpost.publishing.media import Media, MediaFacts, describe_media
from everpost.publishing.results import PublishResult
from everpost.publishing.trace import SendTrace
from everpost.settings import Settings
from everpost.task.model import PublisherClass

__all__ = [
    "Account",
    "AccountBlockedError",
    "AuthError",
    "CheckpointError",
    "InvalidError",
    "JobKeeper",
    "ManualError",
    "Media",
    "MediaFacts",
    "NeedsPersonError",
    "NotFound",
    "OutcomeUnknownError",
    "OvertakenError",
    "PermanentError",
    "Platform",
    "PublishError",
    "PublishJob",
    "PublishResult",
    "Publisher",
    "PublisherClass",
    "RateLimitedError",
    "SendTrace",
    "Settings",
    "SettingsError",
    "Tokens",
    "TransientError",
    "UnregisteredAccount",
    "describe_media",
    "idempotency_key",
    "read_options",
]
