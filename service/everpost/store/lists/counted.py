"""What the kept counts of tasks by status and platform answer."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from everpost.platforms import CALLBACK
from everpost.store.history import Summary, TaskFilter
from everpost.task.model import TaskStatus
from everpost.task.place import Place

Pair = tuple[str, str, str]
"""Table, status and platform."""

HISTORY = "publish_tasks"  # the name of the history in the counts
OF_AN_ACCOUNT = 20_000  # the tasks that an account is taken to have
CLASSES = 4  # so many error classes are taken to share the tasks that did not succeed
MOST_LED = 8  # accounts of a scope that are looked up one by one


def is_counted(wanted: TaskFilter) -> bool:
    """Whether `task_counts` has the number of tasks that match: the filter gives only status, platform or neither."""
    return asks_only_for(wanted, "status", "platform")


def asks_only_for(wanted: TaskFilter, *names: str) -> bool:
    """Whether the filter gives no other field than these."""
    return all(getattr(wanted, name) is None for name in wanted.__struct_fields__ if name not in names)


def matches_nothing(wanted: TaskFilter, place: Place) -> bool:
    """Whether no task of the place can match: waiting tasks and successes have no error class and no cause."""
    is_of_error = wanted.error_class is not None or wanted.cause is not None
    return is_of_error and (place is Place.LEDGER or wanted.status == TaskStatus.SUCCESS)


def accounts_reached(wanted: TaskFilter) -> tuple[str, ...]:
    """The accounts that a caller's scope is about; none if it has whole platforms, or more than `MOST_LED` accounts."""
    reach = wanted.reach or ()
    accounts = {one.partition("\n")[2] for one in reach}
    is_narrow = all("\n" in one for one in reach) and len(accounts) <= MOST_LED
    return tuple(sorted(accounts)) if is_narrow else ()


def may_look_far(wanted: TaskFilter) -> bool:
    """Whether a search may read many rows to find few, because no index covers all that is asked for."""
    narrowing = (wanted.status, wanted.error_class, wanted.cause, wanted.batch_id, wanted.retry_of)
    searching = (wanted.q, wanted.platform, wanted.account_id, wanted.error_class, wanted.reach, wanted.submitted_by)
    return any(value is not None for value in searching) or sum(value is not None for value in narrowing) > 1


def hides_callbacks(wanted: TaskFilter) -> bool:
    """Whether the filter leaves callbacks out: it does unless it asks for a platform, for ids, or for retries."""
    return wanted.platform is None and wanted.task_ids is None and wanted.retry_of is None


def has_callbacks(counts: Sequence[Sequence[Any]]) -> bool:
    """Whether the store has any callback at all."""
    return any(platform == CALLBACK for _, _, platform, _ in counts)


def fits(wanted: TaskFilter, status: str, platform: str) -> bool:
    """Whether tasks of this status and platform match, as far as these two go."""
    if wanted.platform is None and platform == CALLBACK:
        return False
    return wanted.status in {None, status} and (wanted.platform is None or platform in wanted.platform)


def size_of(counts: Sequence[Sequence[Any]], wanted: TaskFilter) -> int:
    """How many tasks of the counts match, as far as status and platform go."""
    return sum(tasks for _, status, platform, tasks in counts if fits(wanted, status, platform))


def rarer_of(counts: Sequence[Sequence[Any]], wanted: TaskFilter) -> str:
    """Which of the filter's fields the fewest tasks of the history share; empty if it gives none that has an index.

    It is status, platform, account_id, error_class or reach. Tasks are not counted by account or class. The number for
    a platform is that for platform and status, if both are given.
    """
    counts = [row for row in counts if row[0] == HISTORY]
    sizes: dict[str, int] = {}
    if wanted.error_class is not None:
        sizes["error_class"] = sum(tasks for _, status, _, tasks in counts if status != TaskStatus.SUCCESS) // CLASSES
    if wanted.platform is not None:
        sizes["platform"] = size_of(counts, TaskFilter(platform=wanted.platform, status=wanted.status))
    if wanted.status is not None:
        sizes["status"] = size_of(counts, TaskFilter(status=wanted.status))
    if wanted.account_id is not None:
        sizes["account_id"] = OF_AN_ACCOUNT
    elif accounts := accounts_reached(wanted):
        sizes["reach"] = OF_AN_ACCOUNT * len(accounts)
    return min(sizes, key=lambda name: sizes[name]) if sizes else ""


def summary_of(counts: Sequence[Sequence[Any]], name_of: Callable[[str], str]) -> Summary:
    """The sums of the counts, without callbacks."""
    by_status: dict[str, int] = {}
    by_platform: dict[str, int] = {}
    by_both: dict[str, dict[str, int]] = {}
    for _, status, spelling, tasks in counts:
        if spelling == CALLBACK:
            continue
        platform = name_of(spelling)
        of_platform = by_both.setdefault(platform, {})
        for tally, name in ((by_status, status), (by_platform, platform), (of_platform, status)):
            tally[name] = tally.get(name, 0) + tasks
    return Summary(sum(by_status.values()), by_status, by_platform, by_both)


def drift_of(there: Iterable[Sequence[Any]], told: Iterable[Sequence[Any]]) -> dict[Pair, int]:
    """What the counts `told` lack of the tasks that are `there`; negative where they have too many."""
    actual, kept = _by_pair(there), _by_pair(told)
    return {
        pair: actual[pair] - kept[pair] for pair in sorted(actual.keys() | kept.keys()) if actual[pair] != kept[pair]
    }


def _by_pair(rows: Iterable[Sequence[Any]]) -> Counter[Pair]:
    counts: Counter[Pair] = Counter()
    for source, status, platform, tasks in rows:
        counts[source, status or "", platform or ""] += tasks
    return counts
