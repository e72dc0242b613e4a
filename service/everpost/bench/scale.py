"""From one API and one worker to four of each, in turns on one server: what a task costs each part, and lock waits.

Eight processes on few cores cost each other their caches, whether they share anything or not. So the four of each are
also measured in turns with four stacks that have a load at once, each with an API, a worker, a Redis and a database of
its own. What the four cost more than these is what sharing costs.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import fmean

import msgspec

from everpost.bench.metrics import PARTS
from everpost.bench.plan import Plan, resized
from everpost.bench.samples import Results
from everpost.bench.stack import BenchStack
from everpost.bench.throughput import Slice, run_slice, warm_up
from everpost.store.measured import Counters

LARGE = 4
LOOK_EVERY_S = 0.02
WRITES_OF_A_TASK = 3  # it is accepted, sent, ended


class LockLooks(msgspec.Struct):
    """Looks at the connections, and how many of these looks found one that waited for a lock."""

    looks: int = 0
    waits: int = 0


class Turn(msgspec.Struct, frozen=True):
    """A run of one of the two stacks, with what the server counted meanwhile, for each task."""

    slice: Slice
    fsyncs: float
    writes: float
    wal_bytes: float
    locks: LockLooks


async def measure_scale(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Measure the stack, and a stack of four APIs and four workers with four times the clients and tasks."""
    async with stack.beside("four", server=stack.server, apis=LARGE, workers=LARGE) as four:
        for each, times in ((stack, 1), (four, LARGE)):
            await run_slice(each, _plan_for(plan, times), times * warm_up(plan))
        for _ in range(plan.runs):
            small = await _turn(stack, plan, 1)
            large = await _turn(four, plan, LARGE)
            _add(results, "scale_one", small)
            _add(results, "scale_four", large)
            results.add(
                scale_waits=100 * large.locks.waits / max(1, large.locks.looks),
                **{f"scale_{part}": _times(small.slice.cpu, large.slice.cpu, part) for part in PARTS},
            )
        await _measure_apart(stack, four, plan, results)


async def _measure_apart(stack: BenchStack, four: BenchStack, plan: Plan, results: Results) -> None:
    async with AsyncExitStack() as running:
        apart = [
            await running.enter_async_context(stack.beside(f"apart-{number}", server=stack.server))
            for number in range(LARGE)
        ]
        for each in apart:
            await run_slice(each, plan, warm_up(plan))
        for _ in range(plan.runs):
            shared = await run_slice(four, _plan_for(plan, LARGE), LARGE * plan.pair_tasks)
            slices = await asyncio.gather(*(run_slice(each, plan, plan.pair_tasks) for each in apart))
            cpu = _cpu_of(slices)
            results.add(
                scale_apart=sum(slice_.rate for slice_ in slices),
                **{f"scale_apart_{part}": cpu[f"cpu_{part}"] for part in PARTS},
                **{f"scale_shared_{part}": _times(cpu, shared.cpu, part) for part in PARTS},
            )


def _cpu_of(slices: Sequence[Slice]) -> Mapping[str, float | None]:
    """The mean CPU a task of stacks that ran at once. Each of them saw the whole server's."""
    found = {part: [slice_.cpu[f"cpu_{part}"] for slice_ in slices] for part in PARTS}
    means = {part: None if None in seen else fmean(filter(None, seen)) for part, seen in found.items()}
    whole = means["database"]
    return {f"cpu_{part}": mean for part, mean in means.items()} | {
        "cpu_database": None if whole is None else whole / len(slices)
    }


def _plan_for(plan: Plan, times: int) -> Plan:
    return resized(plan, connections=times * plan.connections)


async def _turn(stack: BenchStack, plan: Plan, times: int) -> Turn:
    count = times * plan.pair_tasks
    with stack.store.look() as look:
        before = look.counters()
        async with _watched_locks(stack) as locks:
            slice_ = await run_slice(stack, _plan_for(plan, times), count)
        await asyncio.sleep(plan.settle_s)
        after = look.counters()
    assert isinstance(before, Counters)  # this group needs a server
    assert isinstance(after, Counters)
    return Turn(
        slice_,
        fsyncs=(after.fsyncs - before.fsyncs) / count,
        writes=(after.writes - before.writes) / count,
        wal_bytes=(after.wal_bytes - before.wal_bytes) / count,
        locks=locks,
    )


def _add(results: Results, name: str, turn: Turn) -> None:
    results.add(
        **{name: turn.slice.rate},
        **{f"{name}_{part}": turn.slice.cpu[f"cpu_{part}"] for part in PARTS},
        **{
            f"{name}_fsyncs": 1_000 * turn.fsyncs,
            f"{name}_group": WRITES_OF_A_TASK / turn.writes,
            f"{name}_wal": turn.wal_bytes / 1_000,
        },
    )


def _times(small: Mapping[str, float | None], large: Mapping[str, float | None], part: str) -> float | None:
    base, value = small[f"cpu_{part}"], large[f"cpu_{part}"]
    return value / base if base and value is not None else None


@asynccontextmanager
async def _watched_locks(stack: BenchStack) -> AsyncIterator[LockLooks]:
    """Looks at the connections now and then, on a connection of its own."""
    found = LockLooks()

    async def watch() -> None:
        with stack.store.look() as look:
            while True:
                waits = await asyncio.to_thread(look.count_lock_waits)
                found.looks += 1
                found.waits += waits > 0
                await asyncio.sleep(LOOK_EVERY_S)

    watching = asyncio.create_task(watch())
    try:
        yield found
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
