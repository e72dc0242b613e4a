"""The doctor's look at parked tasks: how many due tasks wait for which platform or account, since when, and why."""

from collections.abc import Iterator
from shlex import quote

from everpost.actions.limits import LimitChanges, ShownLimits
from everpost.cli.limits import name_of
from everpost.clock import Clock
from everpost.errors import ServiceError, SettingsError
from everpost.findings import Finding
from everpost.platforms import Catalogue
from everpost.queue.task_queue import TaskQueue
from everpost.settings import Settings
from everpost.store import Store
from everpost.task.holds import WaitKind
from everpost.views.parked_tasks import ParkedTasks, parked_tasks

SAMPLE = 5  # scopes
ABOUT, NAME = "Redis", "parked tasks"


async def check_parked(settings: Settings, store: Store | None, queue: TaskQueue, clock: Clock) -> list[Finding]:
    """A finding for each of the scopes that most tasks wait for; none if the catalogue or the store cannot be read."""
    if store is None:
        return []
    try:
        catalogue = Catalogue.read(settings.platforms)
        shown = await LimitChanges(store, queue, catalogue, clock, settings.zone).show()
    except (ServiceError, SettingsError):  # other findings say so
        return []
    return list(parked_findings(shown))


def parked_findings(shown: ShownLimits) -> Iterator[Finding]:
    """The findings about what waits."""
    if shown.parked is None:
        return
    found = parked_tasks(shown)
    if not found:
        yield Finding(ABOUT, NAME, f"{shown.parked:,}")
    for parked in found[:SAMPLE]:
        yield Finding(ABOUT, NAME, told_of(parked), None, _advice(parked))
    if len(found) > SAMPLE:
        yield Finding(ABOUT, NAME, f"{shown.parked:,} in all; `everpost limits` shows all that they wait for")


def told_of(parked: ParkedTasks) -> str:
    """What waits for a scope, in words."""
    tasks = "1 task waits" if parked.tasks == 1 else f"{parked.tasks:,} tasks wait"
    told = f"{tasks} for {name_of(parked.scope)}: {parked.kind.value}"
    told += f" since {parked.since}" if parked.since else ""
    told += f" until {parked.until}" if parked.until else ""
    return told + (f", {parked.reason}" if parked.reason else "")


def _advice(parked: ParkedTasks) -> str:
    platform, _, account_id = parked.scope.partition("/")
    if parked.kind is WaitKind.HELD:
        return f"Mend the account, then `everpost accounts resume {platform} {quote(account_id)}`."
    if parked.kind is WaitKind.PAUSED:
        of_platform = "" if platform == "*" else f" --platform {platform}"
        of_account = f" --account-id {quote(account_id)}" if account_id else ""
        return f"`everpost limits resume{of_platform}{of_account}` lets them go on."
    return ""
