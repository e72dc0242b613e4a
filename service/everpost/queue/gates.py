"""The gate in Redis: which claimed tasks may begin, and which wait in their lanes. `scripts/gate.lua` has its keys."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any

import msgspec
import structlog
from redis.commands.core import AsyncScript

from everpost.errors import QueueUnreachable, Unavailable
from everpost.limits import Scope
from everpost.queue.keys import PARKED, QUEUE_NAMES, WAKE_CHANNEL
from everpost.queue.redis_server import RedisServer, read_script
from everpost.task.holds import WaitKind

log = structlog.get_logger("everpost.queue")

PER_QUEUE = 10**13  # as in gate.lua
MOST_LET_OUT = 200  # tasks in one call: Redis serves no other client meanwhile, for a few milliseconds
MOST_SHOWN = 1_000  # scopes
HALF_OPEN_MS = 600_000  # as in gate_pump.lua

OVERWRITTEN = ("WRONGTYPE", "user_script", "Error running script")
"""A refusal with one of these is about what another program wrote into the keys of the gate."""
FORGOTTEN = (
    *(
        f"everpost:{name}"
        for name in ("limits", "gate", "lanes", "why", "closed", "passed", "openings", "turn", "late")
    ),
    *(f"everpost:{name}:*" for name in ("behind", "permits", "trials", "coming", "uses", "day")),
)

Packed = Mapping[str, Any]
"""The fields of `everpost:limits`."""


class Refused(msgspec.Struct, frozen=True):
    """A task that may not begin now, and why.

    Attributes:
        until_ms: When it may at the earliest; None if that is not known.
    """

    kind: str
    scope: Scope
    until_ms: int | None


class Turned(msgspec.Struct, frozen=True):
    """What a turn of the gate has done.

    Attributes:
        let_out: How many tasks went back into their queues.
        has_more: More could go at once.
        has_lanes: Tasks wait in lanes.
        opens_in_s: Seconds until a scope may have room again; None if that is not known.
        is_rebuilding: Redis was emptied: workers are to report what they run.
        needs_uses: Redis does not know earlier attempts.
        version: That of the limits in Redis.
        closed_for_ms: For how long scopes are closed, because their platform answered "too fast"; those that are half
            open are there too, with a time that is past.
    """

    let_out: int
    has_more: bool
    has_lanes: bool
    opens_in_s: float | None
    is_rebuilding: bool
    needs_uses: bool
    version: int
    closed_for_ms: dict[Scope, int]


class Whereabouts(msgspec.Struct, frozen=True):
    """A parked task: the scope it waits behind, why, until when, and how many of its lane go before it."""

    scope: Scope
    kind: WaitKind
    until_ms: int | None
    position: int


class Looked(msgspec.Struct, frozen=True):
    """What Redis knows of some tasks: which ones workers hold, and where the parked ones wait."""

    running: AbstractSet[str] = frozenset()
    parked: Mapping[str, Whereabouts] = MappingProxyType({})


NOTHING_KNOWN = Looked()


class ScopeUse(msgspec.Struct, frozen=True, kw_only=True):
    """What waits behind a scope, and what it has in use; `kind` is None if nothing waits."""

    scope: Scope
    kind: WaitKind | None
    until_ms: int | None
    waiting: int
    running: int
    used_today: int


class Told(msgspec.Struct, omit_defaults=True):
    """What a worker tells the gate with a turn. Tasks stand with their lanes: task, lane, task, lane, ...

    Attributes:
        back: Tasks that it no longer runs.
        held: Tasks that it runs.
        parked: Lanes that have got tasks.
        closed: Scopes that are to admit no task, each with the time in ms.
    """

    back: list[str] = []
    held: list[str] = []
    parked: list[str] = []
    closed: list[str | int] = []


NOTHING = Told()


class LimitsLostError(Unavailable):
    """Redis does not know the limits, or its keys of the gate were overwritten.

    They are to be told, and the call to be repeated.
    """

    def __init__(self) -> None:
        super().__init__("Redis has lost the limits, which it is told again.")


class Gates:
    """The calls of the gate. Every method may raise `QueueUnreachable`."""

    def __init__(self, server: RedisServer, lease_s: float) -> None:
        self._redis = server.redis
        self._ask = server.ask
        self._lease_ms = round(lease_s * 1000)
        rules = read_script("gate")
        self._claims, self._pump, self._limits, self._uses = (
            server.redis.register_script(rules + read_script(name))
            for name in ("gate_claims", "gate_pump", "gate_limits", "gate_uses")
        )
        self._orphans: list[Scope] = []  # lanes of which nothing else is known any more
        self._find = server.script("gate_find")
        self._show = server.script("gate_show")

    async def ask(self, tasks: Sequence[tuple[str, Scope, int]]) -> list[Refused | None]:
        """For each task: None if it begins, which counts from now on, or why it may not.

        Args:
            tasks: Each with its lane, and the latest time at which it may begin, by the clock of Redis, or 0. Then it
                comes back into its queue, as long as it is parked.

        Raises:
            LimitsLostError: Nothing was decided.
        """
        packed = msgspec.msgpack.encode([part for task in tasks for part in task])
        answers: list[Any] = await self._run(self._claims, packed)
        return [_refused(answer) for answer in answers]

    async def turn(self, told: Told = NOTHING, most: int = MOST_LET_OUT) -> Turned:
        """Take back permits, and let out as many tasks as there is room for, at most `most`.

        Raises:
            LimitsLostError: Nothing was done.
        """
        if self._orphans:
            told = msgspec.structs.replace(told, parked=[*told.parked, *self._orphans])
        answer: list[Any] = await self._run(self._pump, WAKE_CHANNEL, most, msgspec.msgpack.encode(told))
        self._orphans = []
        out, has_more, has_lanes, opens_in_ms, is_rebuilding, needs_uses, version, now_ms, *closed = answer
        return Turned(
            let_out=out,
            has_more=bool(has_more),
            has_lanes=bool(has_lanes),
            opens_in_s=None if opens_in_ms < 0 else opens_in_ms / 1000,
            is_rebuilding=bool(is_rebuilding),
            needs_uses=bool(needs_uses),
            version=version,
            closed_for_ms={
                _text(scope): (_number(until) or 0) - now_ms
                for scope, until in zip(closed[::2], closed[1::2], strict=True)
            },
        )

    async def _run(self, script: AsyncScript, *arguments: Any) -> Any:
        try:
            answer = await self._ask(script(keys=QUEUE_NAMES, args=[self._lease_ms, *arguments]))
        except QueueUnreachable as error:
            if not any(sign in (error.refusal or "") for sign in OVERWRITTEN):
                raise
            await self._forget()
            log.error("gate.overwritten", error=error.refusal)  # noqa: TRY400 - not Everpost's defect
            raise LimitsLostError from error
        if answer is None:
            raise LimitsLostError
        return answer

    async def _forget(self) -> None:
        """Remove all but the lanes, as if Redis had been emptied; the next turn looks after the lanes."""
        for pattern in FORGOTTEN:
            if keys := await self._keys(pattern):
                await self._ask(self._redis.unlink(*keys))
        prefix = f"{PARKED}:"
        self._orphans = [_text(key).removeprefix(prefix) for key in await self._keys(f"{prefix}*")]

    async def _keys(self, pattern: str) -> list[bytes]:
        found: list[bytes] = []
        cursor = None
        while cursor != 0:
            cursor, keys = await self._ask(self._redis.scan(cursor or 0, match=pattern, count=1_000))
            found += keys
        return found

    async def tell_limits(self, version: int, limits: Packed, *, replaces: bool, is_first: bool) -> bool:
        """Tell Redis the limits; False if it had newer ones.

        Args:
            replaces: Replace newer ones, too.
            is_first: No task has ever been run from this Redis or another.
        """
        packed = msgspec.msgpack.encode(limits)
        arguments: list[Any] = [self._lease_ms, version, int(replaces), int(is_first), packed]
        return bool(await self._ask(self._limits(keys=QUEUE_NAMES, args=arguments)))

    async def tell_uses(self, uses: Mapping[Scope, tuple[Sequence[int], int]], closed: Mapping[Scope, int]) -> bool:
        """Tell an emptied Redis when attempts began, the newest first, and how many began today; False if it knew."""
        arguments: list[Any] = [self._lease_ms, msgspec.msgpack.encode(uses), msgspec.msgpack.encode(closed)]
        return bool(await self._ask(self._uses(keys=QUEUE_NAMES, args=arguments)))

    async def find(self, task_ids: Sequence[str]) -> Looked:
        """Which of these tasks workers hold, and what the parked ones wait for."""
        if not task_ids:
            return NOTHING_KNOWN
        answers: list[Any] = await self._ask(self._find(keys=[], args=list(task_ids)))
        found = dict(zip(task_ids, answers, strict=True))
        return Looked(
            running={task_id for task_id, answer in found.items() if answer == 1},
            parked={
                task_id: Whereabouts(_text(answer[0]), _kind(answer[1]), _number(answer[2]), int(answer[3]))
                for task_id, answer in found.items()
                if isinstance(answer, list)
            },
        )

    async def show(self, scopes: Sequence[Scope], most: int = MOST_SHOWN) -> tuple[int, list[ScopeUse]]:
        """How many tasks are parked in all, and the use of these scopes and of those that something waits behind."""
        shown: tuple[int, list[Any]] = await self._ask(self._show(keys=[], args=[most, *scopes]))
        parked, answers = shown
        return int(parked), [
            ScopeUse(
                scope=_text(scope),
                kind=_kind(kind) if kind else None,
                until_ms=_number(until),
                waiting=waiting,
                running=running,
                used_today=used,
            )
            for scope, kind, until, waiting, running, used in answers
        ]

    async def count_parked(self) -> int:
        """How many tasks are parked."""
        return int(await self._ask(self._redis.hlen(PARKED)))


def lane_key(lane: Scope) -> str:
    """The key of a lane's tasks."""
    return f"{PARKED}:{lane}"


def lane_score(queue_name: str, score: int) -> int:
    """The score of a task in its lane: the more urgent queue first, then the earlier time."""
    return QUEUE_NAMES.index(queue_name) * PER_QUEUE + min(max(score, 0), PER_QUEUE - 1)


def _refused(answer: Any) -> Refused | None:
    if answer == 0:
        return None
    kind, scope, until = answer
    return Refused(_text(kind), _text(scope), _number(until))


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _number(value: bytes) -> int | None:
    return int(value) if value.isdigit() else None


def _kind(value: bytes) -> WaitKind:
    try:
        return WaitKind(value.decode())
    except (ValueError, UnicodeDecodeError):
        return WaitKind.TURN
