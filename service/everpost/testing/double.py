"""A platform for tests: it keeps what it accepts, and fails on request."""

import asyncio
from collections.abc import Callable

from everpost.publishing import NotFound, Publisher, PublisherClass, PublishJob, PublishResult


class PublisherDouble(Publisher):
    """A platform that keeps lists: it replaces every publisher, and fails on request.

    Attributes:
        published: The accepted jobs, in order.
        attempts: Every call, accepted or not.
        looked_up: Every look-up; it finds accepted jobs.
    """

    def __init__(self, publisher_class: PublisherClass = PublisherClass.NONE) -> None:
        self.publisher_class = publisher_class
        self.published: list[PublishJob] = []
        self.attempts: list[PublishJob] = []
        self.looked_up: list[PublishJob] = []
        self._lost_answers = 0
        self._look_up_error: BaseException | None = None
        self._errors: list[BaseException] = []
        self._error_of: Callable[[PublishJob], Exception | None] = lambda _: None
        self._gate = asyncio.Event()
        self._gate.set()

    def fail_next(self, *errors: BaseException) -> None:
        """Make the next calls raise these errors, one each, instead of accepting."""
        self._errors.extend(errors)

    def fail_when(self, error_of: Callable[[PublishJob], Exception | None]) -> None:
        """Call `error_of` for each job, and raise the error it returns, if any."""
        self._error_of = error_of

    def lose_next_answer(self, count: int = 1) -> None:
        """Accept the next jobs, but break the connection instead of answering."""
        self._lost_answers += count

    def fail_look_ups(self, error: BaseException) -> None:
        """Make every look-up raise this error."""
        self._look_up_error = error

    def hold(self) -> None:
        """Make every call wait until `release`."""
        self._gate.clear()

    def release(self) -> None:
        """Let the waiting calls continue."""
        self._gate.set()

    async def publish(self, job: PublishJob) -> PublishResult:
        """Accept the job, or fail as requested."""
        self.attempts.append(job)
        await self._gate.wait()
        error = self._errors.pop(0) if self._errors else self._error_of(job)
        if error is not None:
            raise error
        self.published.append(job)
        if self._lost_answers:
            self._lost_answers -= 1
            raise ConnectionResetError("the connection broke")
        return _post(len(self.published), job)

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        """Find an accepted post by its key."""
        self.looked_up.append(job)
        if self._look_up_error is not None:
            raise self._look_up_error
        for number, published in enumerate(self.published, 1):
            if published.idempotency_key == job.idempotency_key:
                return _post(number, published)
        return NotFound.NOT_FOUND

    def times_published(self, task_id: str) -> int:
        """How often the platform accepted the task."""
        return sum(job.task_id == task_id for job in self.published)


def _post(number: int, job: PublishJob) -> PublishResult:
    return PublishResult(provider_post_id=f"post-{number}", publish_url=f"https://example.test/{job.task_id}")
