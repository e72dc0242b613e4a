"""The gate's Lua against a model in Python, by a clock that the test sets: no limit is exceeded, no room is wasted."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any, cast
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from engine_support import Server, running_server
from everpost.limits import EVERYTHING, NO_LIMITS, Limits, Rate, Scope, platform_of
from everpost.platforms import Catalogue
from everpost.queue import gates as module
from everpost.queue.gates import HALF_OPEN_MS, Gates, Told, lane_key, lane_score
from everpost.queue.keys import PARKED, QUEUE_NAMES
from everpost.queue.redis_server import RedisServer, read_script
from everpost.task.gate_table import GateTable
from everpost.task.holds import Hold, ScopeState, WaitKind

CLOCK = "test:clock"
START_MS = 4_000_000_000_000  # keys expire by Redis's own clock, so not in the past
LEASE_MS = 5_000
HOUR_MS = 3_600_000
LANES = ("douyin/a", "douyin/b", "kuaishou/a")
HELD = "arq:in-progress:"
ENOUGH_PASSED = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(autouse=True)
def _clock_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis's own clock goes on, and much of it may pass on a busy machine. So it lets no key expire meanwhile."""

    def with_own_clock(name: str) -> str:
        script = read_script(name).replace("redis.call('TIME')", f"redis.call('LRANGE', '{CLOCK}', 0, 1)")
        return script.replace("text(limits.memory)", f"text(limits.memory + {HOUR_MS})")

    monkeypatch.setattr(module, "read_script", with_own_clock)


def scopes_of(lane: Scope) -> tuple[Scope, ...]:
    return lane, platform_of(lane), EVERYTHING


class Model:
    """A queue with workers that hold everything they claim, and what has begun, scope by scope."""

    def __init__(self, redis: Redis, limits: dict[Scope, Limits]) -> None:
        self.redis = redis
        self.gates = Gates(RedisServer(redis), LEASE_MS / 1000)
        self.states = {scope: ScopeState(limits=each) for scope, each in limits.items()}
        self.version = 0
        self.zone: tzinfo = UTC
        self.now_ms = START_MS
        self.lanes: dict[str, Scope] = {}
        self.running: dict[str, Scope] = {}
        self.begun: defaultdict[Scope, list[int]] = defaultdict(list)
        self.order: list[str] = []
        self.parked: set[str] = set()
        self.closed: dict[Scope, int] = {}
        self.passed: defaultdict[Scope, int] = defaultdict(int)
        self.trials: defaultdict[Scope, set[str]] = defaultdict(set)

    @property
    def table(self) -> GateTable:
        return GateTable(Catalogue.read(), self.states, version=self.version, zone=self.zone)

    async def begin(self) -> None:
        await self.redis.flushall()
        await self.pass_time(0)
        await self.tell_limits()

    async def tell_limits(self) -> None:
        self.version += 1
        packed = self.table.packed(self.now_ms)
        await self.gates.tell_limits(self.version, packed, replaces=False, is_first=True)

    async def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        await self.redis.delete(CLOCK)
        clock = self.redis.rpush(CLOCK, self.now_ms // 1000, self.now_ms % 1000 * 1000)
        await cast("Awaitable[int]", clock)

    async def wait(self, ms: int) -> None:
        """Let time pass; workers tell the midnights again every few hours."""
        await self.pass_time(ms)
        if ms > HOUR_MS:
            await self.tell_limits()
        await self.turn(Told())

    async def enqueue(self, lane: Scope, priority: int) -> None:
        task_id = f"{len(self.lanes)}"
        self.lanes[task_id] = lane
        await self.redis.set(f"arq:job:{task_id}", "x")
        await self.redis.zadd(QUEUE_NAMES[priority], {task_id: self.now_ms})

    async def claim(self) -> int:
        """Claim all due jobs at once; how many began."""
        found = [
            (task_id.decode(), name, int(score))
            for name in QUEUE_NAMES
            for task_id, score in await self.redis.zrange(name, 0, self.now_ms, byscore=True, withscores=True)
            if not await self.redis.exists(HELD + task_id.decode())
        ]
        for task_id, _, _ in found:
            await self.redis.set(HELD + task_id, "w")
        answers = await self.gates.ask([(task_id, self.lanes[task_id], 0) for task_id, _, _ in found]) if found else []
        parked = []
        for (task_id, name, score), refused in zip(found, answers, strict=True):
            lane = self.lanes[task_id]
            if refused is None:
                self._begin(task_id, lane)
                self.parked.discard(task_id)
                continue
            assert task_id not in self.parked or refused.kind == "paused", "it was let out although there is no room"
            self.parked.add(task_id)
            await self.redis.zrem(name, task_id)
            await self.redis.zadd(lane_key(lane), {task_id: lane_score(name, score)})
            await cast("Awaitable[int]", self.redis.hset(PARKED, task_id, lane_key(lane)))
            await self.redis.delete(HELD + task_id)
            parked.append(lane)
        await self.turn(Told(parked=parked))
        return answers.count(None)

    def _begin(self, task_id: str, lane: Scope) -> None:
        if lane in self.closed:
            is_old = (
                self.now_ms > self.closed[lane] + HALF_OPEN_MS
            )  # it may have been open meanwhile, while nothing waited
            assert self.has_trial(lane) or is_old, "it is closed, or enough are tried"
            self.trials[lane].add(task_id)
        self.running[task_id] = lane
        self.order.append(task_id)
        for scope in scopes_of(lane):
            self.begun[scope].append(self.now_ms)
            self.check(scope)

    def check(self, scope: Scope) -> None:
        """No limit of the scope is exceeded."""
        limits = self.table.limits_of(scope)
        running = sum(scope in scopes_of(lane) for lane in self.running.values())
        assert limits.concurrency is None or running <= limits.concurrency
        for rate in limits.rates:
            assert self.since(scope, rate.per_s) <= rate.count
        if limits.gap_s is not None and len(self.begun[scope]) > 1:
            assert self.begun[scope][-1] - self.begun[scope][-2] >= limits.gap_s * 1000
        if limits.daily is not None:
            began_ms = self.table.day_began_ms(self.now_ms)
            assert sum(at >= began_ms for at in self.begun[scope]) <= limits.daily

    def since(self, scope: Scope, seconds: float) -> int:
        return sum(at > self.now_ms - seconds * 1000 for at in self.begun[scope])

    def has_room(self, scope: Scope) -> bool:
        state, limits = self.table.state_of(scope), self.table.limits_of(scope)
        running = sum(scope in scopes_of(lane) for lane in self.running.values())
        began_ms = self.table.day_began_ms(self.now_ms)
        last = self.begun[scope][-1] if self.begun[scope] else -1
        return (
            state.hold is None
            and (limits.concurrency is None or running < limits.concurrency)
            and all(self.since(scope, rate.per_s) < rate.count for rate in limits.rates)
            and (limits.gap_s is None or last < 0 or self.now_ms - last >= limits.gap_s * 1000)
            and (limits.daily is None or sum(at >= began_ms for at in self.begun[scope]) < limits.daily)
        )

    def has_trial(self, lane: Scope) -> bool:
        """Whether the lane is open, or half open with room for one more: one, and one for each that has passed."""
        until_ms = self.closed.get(lane, 0)
        return until_ms <= self.now_ms and (not until_ms or len(self.trials[lane]) <= self.passed[lane])

    async def turn(self, told: Told) -> None:
        turned = await self.gates.turn(told)
        while turned.has_more:
            turned = await self.gates.turn()
        for lane in self.closed.keys() - turned.closed_for_ms.keys():
            assert self.closed[lane] + HALF_OPEN_MS < self.now_ms, "it is open too early"
            assert not self.trials[lane], "it is open although one is tried"
            assert not await self.redis.exists(f"everpost:behind:{lane}"), "it is open although one waits"
            self._open(lane)

    async def end(self, number: int) -> None:
        """One of the running tasks ends, and its worker gives the permit back."""
        task_id = sorted(self.running)[number % len(self.running)]
        lane = self.running.pop(task_id)
        await self.forget(task_id)
        if task_id in self.trials[lane]:
            self.trials[lane].discard(task_id)
            self.passed[lane] += 1
            if self.passed[lane] >= ENOUGH_PASSED:
                self._open(lane)
        await self.turn(Told(back=[task_id, lane]))

    async def too_fast(self, number: int, wait_ms: int) -> None:
        """One of the running tasks ends because its platform answered "too fast"."""
        task_id = sorted(self.running)[number % len(self.running)]
        lane = self.running.pop(task_id)
        await self.forget(task_id)
        self.parked -= await self.let_out(lane)  # there was room when they were let out; now they may wait again
        until_ms = max(self.now_ms + wait_ms, self.closed.get(lane, 0))
        self._open(lane)
        self.closed[lane] = until_ms
        await self.turn(Told(back=[task_id, lane], closed=[lane, wait_ms]))

    async def let_out(self, lane: Scope) -> set[str]:
        """The tasks of the lane that are in a queue."""
        queued = [task_id.decode() for name in QUEUE_NAMES for task_id in await self.redis.zrange(name, 0, -1)]
        return {task_id for task_id in queued if self.lanes[task_id] == lane}

    def _open(self, lane: Scope) -> None:
        self.closed.pop(lane, None)
        self.passed.pop(lane, None)
        self.trials.pop(lane, None)

    async def forget(self, task_id: str) -> None:
        await self.redis.delete(HELD + task_id, f"arq:job:{task_id}")
        for name in QUEUE_NAMES:
            await self.redis.zrem(name, task_id)

    async def kill(self) -> None:
        """All workers die. Their leases end, and their tasks are due again."""
        for task_id in self.running:
            await self.redis.delete(HELD + task_id)
        self.running.clear()
        self.trials.clear()
        await self.pass_time(LEASE_MS + 1)
        await self.turn(Told())

    async def hold(self, scope: Scope, *, is_held: bool) -> None:
        state = self.states.get(scope, ScopeState())
        hold = Hold(kind=WaitKind.PAUSED, reason="x", since="") if is_held else None
        self.states[scope] = msgspec.structs.replace(state, hold=hold)
        await self.tell_limits()

    async def waiting(self) -> dict[str, Scope]:
        """The tasks in lanes; each is in its lane, or in a queue, or has ended."""
        found = {}
        for lane in LANES:
            for task_id in await self.redis.zrange(lane_key(lane), 0, -1):
                assert self.lanes[task_id.decode()] == lane
                found[task_id.decode()] = lane
        return found

    async def check_no_room_is_wasted(self) -> None:
        await self.turn(Told())
        await self.claim()
        for lane in set((await self.waiting()).values()):
            assert not (self.has_trial(lane) and all(self.has_room(scope) for scope in scopes_of(lane))), lane


LIMITS = st.builds(
    Limits,
    concurrency=st.none() | st.integers(1, 3),
    rates=st.lists(st.builds(Rate, count=st.integers(1, 3), per_s=st.sampled_from([1, 10, 60])), max_size=2).map(tuple),
    gap_s=st.none() | st.sampled_from([0.5, 5]),
    daily=st.none() | st.integers(1, 5),
)
SCOPES = st.dictionaries(
    st.sampled_from(["*", "douyin", "douyin/a", "/douyin", "kuaishou"]),
    LIMITS | st.just(NO_LIMITS),
    min_size=1,
    max_size=4,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enqueue"), st.sampled_from(LANES), st.sampled_from([0, 5, 9]), st.integers(1, 4)),
        st.tuples(st.just("end"), st.integers(0, 9)),
        st.tuples(st.just("too fast"), st.integers(0, 9), st.sampled_from([1, 1_000, 60_000])),
        st.tuples(st.just("time"), st.sampled_from([1, 100, 1_000, 10_000, 60_000, 43_200_000])),
        st.tuples(st.just("kill")),
        st.tuples(st.just("hold"), st.sampled_from(["*", "douyin", "douyin/b"]), st.booleans()),
    ),
    min_size=10,
    max_size=40,
)


async def run(model: Model, steps: list[tuple[Any, ...]]) -> None:
    await model.begin()
    for step in steps:
        match step:
            case ("enqueue", lane, priority, count):
                for _ in range(count):
                    await model.enqueue(lane, priority)
            case ("end", number) if model.running:
                await model.end(number)
            case ("too fast", number, wait_ms) if model.running:
                await model.too_fast(number, wait_ms)
            case ("time", ms):
                await model.wait(ms)
            case ("kill",):
                await model.kill()
            case ("hold", scope, is_held):
                await model.hold(scope, is_held=is_held)
        await model.claim()
    await model.check_no_room_is_wasted()
    await finish(model)


async def finish(model: Model) -> None:
    """End all that runs, resume everything and let time pass: every task begins."""
    for scope in [scope for scope, state in model.states.items() if state.hold is not None]:
        await model.hold(scope, is_held=False)
    for _ in range(20 * (len(model.lanes) + 1)):
        await model.claim()
        while model.running:
            await model.end(0)
        if set(model.order) >= set(model.lanes) and not await model.waiting():
            return
        await model.wait(43_200_000)
    raise AssertionError(await model.waiting())


def check(server: Server, limits: dict[Scope, Limits], steps: list[tuple[Any, ...]]) -> None:
    run_alone(server, lambda model: run(model, steps), limits)


def run_alone(
    server: Server, scene: Callable[[Model], Awaitable[None]], limits: dict[Scope, Limits] | None = None
) -> None:
    async def inside() -> None:
        redis = Redis(unix_socket_path=str(server.socket_path))
        try:
            await scene(Model(redis, limits or {}))
        finally:
            await redis.aclose()

    asyncio.run(inside())


@pytest.mark.parametrize(("month", "hours"), [(3, 23), (10, 25)])
def test_a_daily_limit_lasts_from_midnight_to_midnight_when_the_clocks_change(
    server: Server, month: int, hours: int
) -> None:
    async def inside(model: Model) -> None:
        model.zone = ZoneInfo("Europe/Berlin")
        sunday = max(day for day in range(25, 32) if datetime(2096, month, day, tzinfo=UTC).weekday() == 6)
        midnight_ms = round(datetime(2096, month, sunday, tzinfo=model.zone).timestamp() * 1000)
        model.now_ms = midnight_ms + 1
        await model.begin()
        for _ in range(3):
            await model.enqueue("douyin/a", 5)
        assert await model.claim() == 1
        await model.wait(hours * HOUR_MS - 2)
        assert await model.claim() == 0
        await model.wait(1)
        assert await model.claim() == 1

    run_alone(server, inside, {"douyin/a": Limits(daily=1)})


def test_after_an_answer_too_fast_one_task_is_tried_first_and_each_that_passes_makes_room_for_one_more(
    server: Server,
) -> None:
    async def inside(model: Model) -> None:
        await model.begin()
        for _ in range(40):
            await model.enqueue("douyin/a", 5)
        await model.gates.turn(Told(closed=["douyin/a", 1_000]))
        model.closed["douyin/a"] = model.now_ms + 1_000
        assert await model.claim() == 0
        await model.wait(1_000)
        sizes = []
        while model.closed:
            sizes.append(await model.claim())
            for _ in range(len(model.running)):
                await model.end(0)
        assert sizes == [1, 2, 4, 8]
        assert await model.claim() == 25
        assert not await model.redis.keys("everpost:closed")
        assert not await model.redis.keys("everpost:trials:*")

    run_alone(server, inside)


def test_an_answer_too_fast_to_a_trial_closes_again_and_one_that_dies_makes_way_for_another(server: Server) -> None:
    async def inside(model: Model) -> None:
        await model.begin()
        for _ in range(10):
            await model.enqueue("douyin/a", 5)
        assert await model.claim() == 10
        await model.too_fast(0, 1_000)
        await model.wait(1_000)
        for _ in range(9):  # they began before; that they end well says nothing about now
            await model.end(0)
        for _ in range(9):
            await model.enqueue("douyin/a", 5)
        assert await model.claim() == 1
        await model.end(0)
        assert await model.claim() == 2
        await model.too_fast(0, 5_000)
        await model.end(0)
        assert await model.claim() == 0
        await model.wait(5_000)
        assert await model.claim() == 1
        await model.kill()
        assert await model.claim() == 1

    run_alone(server, inside)


def test_a_redis_that_was_emptied_is_told_which_accounts_were_closed_a_short_time_ago(server: Server) -> None:
    async def inside(model: Model) -> None:
        await model.begin()
        await model.redis.flushall()
        await model.pass_time(LEASE_MS)
        await model.gates.tell_limits(1, model.table.packed(model.now_ms), replaces=False, is_first=False)
        await model.pass_time(LEASE_MS)
        assert (await model.gates.turn()).needs_uses
        assert await model.gates.tell_uses({}, {"douyin/a": model.now_ms - 1})
        model.closed["douyin/a"] = model.now_ms - 1
        for _ in range(3):
            await model.enqueue("douyin/a", 5)
        assert await model.claim() == 1

    run_alone(server, inside)


def test_an_account_whose_tasks_wait_for_something_else_stays_half_open(server: Server) -> None:
    async def inside(model: Model) -> None:
        await model.begin()
        await model.gates.turn(Told(closed=["douyin/a", 1_000]))
        await model.hold(EVERYTHING, is_held=True)
        for _ in range(5):
            await model.enqueue("douyin/a", 5)
        await model.wait(1_000)
        assert await model.claim() == 0
        await model.wait(2 * HALF_OPEN_MS)
        await model.hold(EVERYTHING, is_held=False)
        await model.turn(Told())
        assert await model.claim() == 1

    run_alone(server, inside)


def test_an_account_for_which_nothing_waits_is_open_again_later(server: Server) -> None:
    async def inside(model: Model) -> None:
        await model.begin()
        turned = await model.gates.turn(Told(closed=["douyin/a", 1_000]))
        assert turned.closed_for_ms == {"douyin/a": 1_000}
        await model.pass_time(HALF_OPEN_MS)
        assert list((await model.gates.turn()).closed_for_ms) == ["douyin/a"]
        await model.pass_time(1_001)
        assert (await model.gates.turn()).closed_for_ms == {}
        for _ in range(3):
            await model.enqueue("douyin/a", 5)
        assert await model.claim() == 3

    run_alone(server, inside)


def test_an_account_that_is_open_again_takes_all_tasks_at_once(server: Server) -> None:
    steps = [
        ("enqueue", "kuaishou/a", 5, 1),
        ("too fast", 0, 1_000),
        ("time", 43_200_000),
        ("enqueue", "kuaishou/a", 5, 4),
    ]
    check(server, {"kuaishou": NO_LIMITS}, steps)


def test_a_task_that_was_let_out_before_an_answer_too_fast_waits_again(server: Server) -> None:
    steps = [
        ("enqueue", "douyin/b", 0, 1),
        ("hold", "*", True),
        ("enqueue", "douyin/b", 0, 1),
        ("hold", "*", False),
        ("too fast", 0, 1_000),
    ]
    check(server, {"*": NO_LIMITS}, steps)


@settings(max_examples=15)
@given(SCOPES, STEPS)
def test_no_limit_is_exceeded_no_room_is_wasted_and_no_task_is_lost(
    server: Server, limits: dict[Scope, Limits], steps: list[tuple[Any, ...]]
) -> None:
    check(server, limits, steps)


@pytest.mark.chaos
@settings(max_examples=1_000)
@given(SCOPES, STEPS)
def test_the_same_with_many_more_examples(
    server: Server, limits: dict[Scope, Limits], steps: list[tuple[Any, ...]]
) -> None:
    check(server, limits, steps)
