"""Changes limits, pauses and resumes platforms and accounts, and shows what waits for them."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import tzinfo

import msgspec
import structlog

from everpost.clock import Clock, to_text
from everpost.errors import QueueUnreachable
from everpost.limits import EVERYTHING, Limits, Scope, lane_of
from everpost.platforms import Catalogue
from everpost.queue.gates import LimitsLostError, ScopeUse
from everpost.queue.task_queue import TaskQueue
from everpost.store import Store
from everpost.store.gate_tables import read_gate_table
from everpost.store.meta import EPOCH
from everpost.task.account_rules import AccountRule, paused_by_hand, resumed_by_hand
from everpost.task.gate_table import GateTable, each_account_of
from everpost.task.holds import ChangeScope, Hold, ScopeState, WaitKind, held_by, with_hold, with_limits, without_hold

log = structlog.get_logger("everpost.limits")

MOST_TURNS = 10  # of one request; the workers let the others out


class ShownUse(msgspec.Struct, frozen=True, kw_only=True):
    """What waits behind a scope, and what it has in use.

    Attributes:
        waiting: Tasks that wait for it.
        kind: Why they do; None if none waits.
        until: UTC text: when one may go on at the earliest; None if that is not known.
        running: Tasks that run, if it has a limit of concurrency.
        used_today: Attempts that began today, if it has a daily limit.
    """

    waiting: int
    kind: WaitKind | None
    until: str | None
    running: int
    used_today: int


class ShownScope(msgspec.Struct, frozen=True, kw_only=True):
    """A scope with what is set for it, and what waits behind it.

    Attributes:
        scope: `*` is everything, `/PLATFORM` each account of a platform.
        limits: Those that hold.
        is_set: They were set at run time; otherwise they are the catalogue's.
        use: None if Redis does not answer, and for `/PLATFORM`.
    """

    scope: Scope
    limits: Limits
    is_set: bool
    hold: Hold | None
    use: ShownUse | None


class ShownLimits(msgspec.Struct, frozen=True):
    """All scopes that have a limit, are held, or have tasks behind them; `parked` is None if Redis does not answer."""

    parked: int | None
    scopes: Sequence[ShownScope]


class LimitChanges:
    """Limits and holds. A change holds for all workers within a second."""

    def __init__(self, store: Store, queue: TaskQueue, catalogue: Catalogue, clock: Clock, zone: tzinfo) -> None:
        self._store = store
        self._limits = store.limits
        self._accounts = store.accounts
        self._meta = store.meta
        self._gates = queue.gates
        self._catalogue = catalogue
        self._clock = clock
        self._zone = zone

    def scope_of(self, platform: int | str | None, account_id: str | None, *, each_account: bool = False) -> Scope:
        """The scope of a request: an account, each account of a platform, a platform, or everything.

        Raises:
            UnknownPlatform: The catalogue does not have the platform.
        """
        if platform is None:
            return EVERYTHING
        name = self._catalogue.find(platform).name
        if account_id is not None:
            return lane_of(name, account_id)
        return each_account_of(name) if each_account else name

    async def set_limits(self, scope: Scope, limits: Limits | None) -> ScopeState:
        """Set the limits of a scope; None goes back to the catalogue's.

        Raises:
            Unavailable: The store cannot be written.
        """
        state = await self._change(scope, with_limits(limits))
        log.info("limits.set", scope=scope, limits=None if limits is None else msgspec.to_builtins(limits))
        return state

    async def pause(self, scope: Scope, reason: str, by: str | None) -> ScopeState:
        """Let no task of a scope begin; one that is paused or held stays so, for its own reason.

        Raises:
            Unavailable: The store cannot be written.
        """
        now_ms = self._clock()
        hold = Hold(kind=WaitKind.PAUSED, reason=reason, by=by, since=to_text(now_ms))
        is_account = await self._change_account(scope, paused_by_hand(reason, now_ms))
        state = await self._change(scope, held_by(hold) if is_account else with_hold(hold))
        log.info("scope.paused", scope=scope, by=by)
        return state

    async def resume(self, scope: Scope) -> ScopeState:
        """Let the tasks of a scope begin again.

        Raises:
            Unavailable: The store cannot be written.
        """
        await self._change_account(scope, resumed_by_hand(self._clock()))
        state = await self._change(scope, without_hold())
        log.info("scope.resumed", scope=scope)
        return state

    async def _change_account(self, scope: Scope, rule: AccountRule) -> bool:
        """Apply the rule to the registered account of a lane; whether there is one, and it has changed."""
        platform, slash, account_id = scope.partition("/")
        if not platform or not slash:
            return False
        _, is_changed = await self._accounts.change(platform, account_id, rule, self._clock())
        return is_changed

    async def show(self) -> ShownLimits:
        """Everything that is set, and what waits."""
        table = await self._read_table()
        scopes = table.scopes()
        try:
            parked, uses = await self._gates.show([scope for scope in scopes if not scope.startswith("/")])
        except QueueUnreachable:
            return ShownLimits(None, [self._shown(table, scope, None) for scope in scopes])
        used = {use.scope: use for use in uses}
        return ShownLimits(parked, [self._shown(table, scope, used.get(scope)) for scope in sorted({*scopes, *used})])

    @staticmethod
    def _shown(table: GateTable, scope: Scope, use: ScopeUse | None) -> ShownScope:
        state = table.state_of(scope)
        shown = None
        if use is not None:
            shown = ShownUse(
                waiting=use.waiting,
                kind=use.kind,
                until=None if use.until_ms is None else to_text(use.until_ms),
                running=use.running,
                used_today=use.used_today,
            )
        return ShownScope(
            scope=scope, limits=table.limits_of(scope), is_set=state.limits is not None, hold=state.hold, use=shown
        )

    async def _read_table(self) -> GateTable:
        return await read_gate_table(self._store, self._catalogue, self._zone)

    async def _change(self, scope: Scope, rule: ChangeScope) -> ScopeState:
        state = await self._limits.change(scope, rule, self._clock())
        with suppress(QueueUnreachable):  # the workers tell Redis when they read the change
            await self.apply()
        return state

    async def apply(self) -> None:
        """Tell Redis what the store has, and let out the tasks that may go.

        Raises:
            Unavailable: Redis or the store does not answer.
        """
        table = await self._read_table()
        is_first = await self._meta.get(EPOCH) is None
        await self._gates.tell_limits(table.version, table.packed(self._clock()), replaces=False, is_first=is_first)
        with suppress(LimitsLostError):  # Redis was emptied this moment
            for _ in range(MOST_TURNS):
                if not (await self._gates.turn()).has_more:
                    return
