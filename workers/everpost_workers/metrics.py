"""The worker's counts: how long tasks waited, its attempts, and the ends it recorded."""

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import Any

from everpost.errors import UnknownPlatform
from everpost.metrics import ACCEPTED, ATTEMPTED, ENDED, PUBLISH_DURATION, QUEUE_WAIT, Counter, Tally
from everpost.platforms import Catalogue
from everpost.queue.keys import QUEUE_NAMES
from everpost.task.model import PRIORITIES, Attempt, TaskRecord
from everpost_workers.engine import Claim

OTHER = "other"  # for platforms that the catalogue does not have: their names could be any text


class WorkerMetrics:
    """Counts, with labels that have a limited number of values."""

    def __init__(self, tally: Tally, catalogue: Catalogue) -> None:
        self._tally = tally
        self._catalogue = catalogue
        self._priorities = {name: str(priority) for name, priority in zip(QUEUE_NAMES, PRIORITIES, strict=True)}
        self._names = {platform.name: platform.name for platform in catalogue}

    def count_claims(self, claims: Sequence[Claim[Any]], dropped: Collection[str]) -> None:
        """Count the jobs of a claim that were let in."""
        waits_s: dict[str, list[float]] = {}
        for claim in claims:
            if claim.job_id not in dropped:
                waits_s.setdefault(claim.queue_name, []).append((claim.claimed_ms - claim.score) / 1000)
        for queue_name, some in waits_s.items():
            self._tally.observe(QUEUE_WAIT, some, self._priorities.get(queue_name, OTHER))

    def count_accepted(self, platform: str | None) -> None:
        """Count a task that this worker accepted: a stock arq client's, or that of a recurring post."""
        self._tally.count(ACCEPTED, self._platform(platform))

    def count_attempts(self, made: Iterable[tuple[str | None, Attempt, int]]) -> None:
        """Count recorded attempts; each comes with its platform and its duration in milliseconds."""
        ends: list[tuple[str | None, str, str | None]] = []
        times_s: dict[str | None, list[float]] = {}
        for platform, attempt, took_ms in made:
            ends.append((platform, attempt.outcome, attempt.error_class))
            times_s.setdefault(platform, []).append(took_ms / 1000)
        self._count(ATTEMPTED, ends)
        for platform, some in times_s.items():
            self._tally.observe(PUBLISH_DURATION, some, self._platform(platform))

    def count_ends(self, ended: Iterable[tuple[str | None, TaskRecord]]) -> None:
        """Count tasks that have ended; each comes with its platform."""
        self._count(ENDED, [(platform, record.status, record.error_class) for platform, record in ended])

    def _count(self, counter: Counter, ends: Iterable[tuple[str | None, str, str | None]]) -> None:
        """Count ends of one batch. Equal neighbours are counted together, because hashing an enum calls Python code."""
        for (platform, end, error_class), equal in groupby(ends):
            self._tally.count(counter, self._platform(platform), end, error_class or "", times=len(list(equal)))

    def _platform(self, written: str | None) -> str:
        """The platform's name in the catalogue; stock arq clients may write it in another way."""
        name = self._names.get(written or "")
        if name is not None:
            return name
        try:
            return self._catalogue.find(written or "").name
        except UnknownPlatform:
            return OTHER
