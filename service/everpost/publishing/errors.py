"""The errors a publisher raises; the class of an error decides what happens to the task.

PublishError
├── TransientError       the platform cannot be reached, or fails for now: tried again, with backoff
├── RateLimitedError     the platform limits the rate: tried again after `retry_after_s`, without spending an attempt
├── AuthError            the platform does not accept the credentials: the account is put on hold, if it is registered
├── NeedsPersonError     a captcha or a verification that only a person can do: as AuthError
├── AccountBlockedError  the platform has closed the account for good: failed, as all tasks of the account
├── InvalidError         the platform will never accept this task: failed
├── PermanentError       the platform refuses for another definite reason: failed
├── ManualError          a person posts it: unknown, until that person says how it went
└── OutcomeUnknownError  the post may have been accepted: see `PublisherClass`
    └── OvertakenError   raised by `job.checkpoint`: another attempt has the task, or it has ended; stop sending
"""

from everpost.task.model import ErrorClass


class PublishError(Exception):
    """An attempt failed in a way the publisher understands.

    Args:
        message: Shown to people and kept with the task, so it must have no secrets and no whole payloads.
        retry_after_s: Seconds after which another attempt makes sense; None leaves it to the backoff.
    """

    error_class = ErrorClass.PERMANENT

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TransientError(PublishError):
    """Nothing was published, and another attempt may succeed."""

    error_class = ErrorClass.TRANSIENT


class RateLimitedError(PublishError):
    """Nothing was published: the platform limits the rate. `retry_after_s` is the wait it asks for, if it names one."""

    error_class = ErrorClass.RATE_LIMITED


class AuthError(PublishError):
    """Nothing was published: the credentials are wrong, expired or lack a right."""

    error_class = ErrorClass.AUTH


class NeedsPersonError(PublishError):
    """Nothing was published: the platform wants a captcha, a code or a confirmation, which only a person can give."""

    error_class = ErrorClass.NEEDS_PERSON


class AccountBlockedError(PublishError):
    """Nothing was published: the platform has blocked or deleted the account for good."""

    error_class = ErrorClass.ACCOUNT_BLOCKED


class InvalidError(PublishError):
    """Nothing was published, and nothing will be unless the task changes."""

    error_class = ErrorClass.INVALID


class PermanentError(PublishError):
    """Nothing was published, and another attempt would not help."""

    error_class = ErrorClass.PERMANENT


class ManualError(PublishError):
    """Nothing was published: a person posts it, and decides then, as about an unknown outcome."""

    error_class = ErrorClass.MANUAL


class OutcomeUnknownError(PublishError):
    """Sending began and no answer came: the platform may have accepted the post."""

    error_class = ErrorClass.UNKNOWN


class OvertakenError(OutcomeUnknownError):
    """Another attempt has the task, or the task has ended: this attempt must stop sending. Let it through."""
