"""What a worker counts: how long tasks waited for it, its attempts, and the ends it recorded."""

from collections.abc import Collection, Sequence

from service.errors import UnknownPlatform
from service.metrics import ACCEPTED, ATTEMPTED, ENDED, PUBLISH_DURATION, QUEUE_WAIT, Tally
from service.platforms import Catalogue
from service.queue.client import QUEUE_NAMES
from service.task import PRIORITIES, Attempt, TaskRecord
from workers.claims import Claim

OTHER = "other"  # in place of a platform the catalogue does not have: it could be any text


class WorkerMetrics:
    """Counts, with labels of which there are only so many."""

    def __init__(self, tally: Tally, catalogue: Catalogue) -> None:
        self._tally = tally
        self._catalogue = catalogue
        self._priorities = {name: str(priority) for name, priority in zip(QUEUE_NAMES, PRIORITIES, strict=True)}
        self._names = {platform.name: platform.name for platform in catalogue}

    def count_claims(self, claims: Sequence[Claim], dropped: Collection[str], now_ms: int) -> None:
        """Count what was let in of a claim."""
        for claim in claims:
            if claim.job_id not in dropped:
                waited_s = (now_ms - claim.score) / 1000
                self._tally.observe(QUEUE_WAIT, waited_s, self._priorities.get(claim.queue_name, OTHER))

    def count_adopted(self, platform: str | None) -> None:
        """Count a task of a stock arq client."""
        self._tally.count(ACCEPTED, self._platform(platform))

    def count_attempt(self, platform: str | None, attempt: Attempt, took_ms: int) -> None:
        """Count an attempt that is on record."""
        name = self._platform(platform)
        self._tally.count(ATTEMPTED, name, attempt.outcome, attempt.error_class or "")
        self._tally.observe(PUBLISH_DURATION, took_ms / 1000, name)

    def count_end(self, platform: str | None, record: TaskRecord) -> None:
        """Count a task that has ended."""
        self._tally.count(ENDED, self._platform(platform), record.status, record.error_class or "")

    def _platform(self, written: str | None) -> str:
        """The platform's name; tasks of stock arq clients have it as they wrote it."""
        name = self._names.get(written or "")
        if name is not None:
            return name
        try:
            return self._catalogue.find(written or "").name
        except UnknownPlatform:
            return OTHER
