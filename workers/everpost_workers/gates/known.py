"""The limits as one worker knows them: read from the store, and told to Redis."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import tzinfo

from everpost.clock import DAY_MS, Clock
from everpost.limits import Scope, platform_of
from everpost.platforms import Catalogue
from everpost.queue.gates import HALF_OPEN_MS
from everpost.queue.task_queue import TaskQueue
from everpost.store import Store
from everpost.store.accounts import VERSION as ACCOUNTS
from everpost.store.gate_tables import read_gate_table
from everpost.store.limits import CLOSED, VERSION, version_in
from everpost.store.look_ups import LOOK_UPS
from everpost.task.gate_table import GateTable
from everpost_workers.gates.uses import uses_by_scope

MARGIN_MS = 3_600_000
WATCHED = (VERSION, CLOSED, ACCOUNTS, LOOK_UPS)
"""The values of `everpost.store.meta.Meta` that tell whether something has changed."""

PORTIONS, REST_S = 1_000, 0.05  # so that clients are served meanwhile


class KnownLimits:
    """Says which tasks Redis must be asked about.

    Attributes:
        table: The limits and holds, as the store had them when it was read last.
    """

    def __init__(self, store: Store, queue: TaskQueue, clock: Clock, catalogue: Catalogue, zone: tzinfo) -> None:
        self._store = store
        self._limits = store.limits
        self._gates = queue.gates
        self._server = queue.server
        self._clock = clock
        self._catalogue = catalogue
        self._zone = zone
        self.table = GateTable(catalogue, zone=zone)
        self._closed: set[Scope] = set()  # or half open
        self._told_at_ms = 0
        self._told: GateTable | None = None  # that Redis was told last
        self._accounts: str | None = None  # the version of the accounts whose zones the table has
        self._noticed: Mapping[str, str] | None = None

    # what a claim looks up

    @property
    def is_empty(self) -> bool:
        """Whether no task has a limit or is held, and no lane is closed or half open."""
        return self.table.is_empty and not self._closed

    def concern(self, spelling: str) -> str | None:
        """The platform's name if one of its tasks may have a limit, be held or be closed; its lane tells for sure."""
        platform = self._catalogue.name_of(spelling)
        is_closed = any(platform_of(lane) == platform for lane in self._closed)
        return platform if is_closed or self.table.concerns(platform) else None

    def have(self, lane: Scope) -> bool:
        """Whether tasks of this lane have a limit, are held or are closed."""
        return lane in self._closed or self.table.is_gated(lane)

    def count_uses(self, lane: Scope) -> bool:
        """Whether it matters when attempts of this lane begin."""
        return self.table.counts_uses(lane)

    # how they change

    def note_closed(self, lane: Scope) -> None:
        """Note that a lane is closed for some time."""
        self._closed.add(lane)

    def learn_closed(self, lanes: Iterable[Scope]) -> None:
        """Take over which lanes are closed or half open."""
        self._closed = set(lanes)

    def notice(self, values: Mapping[str, str]) -> None:
        """Note the values of `WATCHED`, for the next `refresh`."""
        self._noticed = values

    async def refresh(self) -> None:
        """Read the limits if they have changed, and then tell Redis; also once a day, because of the midnights.

        Raises:
            ServiceError: The store or Redis does not answer; then the next call goes on.
        """
        if (noticed := self._noticed) is not None:
            if self._are_old(noticed):
                await self.read()
            if self._noticed is noticed:
                self._noticed = None
        if self._told is not self.table or self._clock() - self._told_at_ms > DAY_MS / 4:
            is_same = self._told is not None and self._told.version == self.table.version
            await self.tell(replaces=is_same)  # the same version, because an account may have another time zone now

    def _are_old(self, noticed: Mapping[str, str]) -> bool:
        has_other_zones = self.table.counts_days and noticed.get(ACCOUNTS) != self._accounts
        return has_other_zones or version_in(noticed.get(VERSION)) != self.table.version

    async def read(self) -> None:
        """Read the limits.

        Raises:
            ServiceError: The store does not answer.
        """
        self._accounts = await self._store.meta.get(ACCOUNTS)  # first: a later change is read again
        self.table = await read_gate_table(self._store, self._catalogue, self._zone)

    async def tell(self, *, replaces: bool = False, is_first: bool = False) -> None:
        """Tell Redis the limits; see `Gates.tell_limits`.

        Raises:
            QueueUnreachable: Redis does not answer.
        """
        now_ms, table = self._clock(), self.table
        await self._gates.tell_limits(table.version, table.packed(now_ms), replaces=replaces, is_first=is_first)
        self._told_at_ms, self._told = now_ms, table

    async def tell_uses(self) -> None:
        """Tell an emptied Redis what was used before.

        Raises:
            ServiceError: The store or Redis does not answer.
        """
        now_ms, table = self._clock(), self.table
        ahead_ms = await self._server.now_ms() - now_ms
        memory_ms = table.memory_ms()
        uses = await self._limits.uses_since(now_ms - memory_ms) if memory_ms else []
        told = uses_by_scope(uses, table, now_ms, ahead_ms)
        closed = await self._limits.closures(now_ms - HALF_OPEN_MS)
        await self._gates.tell_uses(told, {scope: until + ahead_ms for scope, until in closed.items()})

    async def forget_uses(self) -> None:
        """Remove uses that no limit remembers any more.

        Raises:
            ServiceError: The store cannot be written.
        """
        before_ms = self._clock() - self.table.memory_ms() - MARGIN_MS
        for _ in range(PORTIONS):
            if not await self._limits.forget_uses(before_ms):
                return
            await asyncio.sleep(REST_S)
