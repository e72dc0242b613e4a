"""Two stacks measured in turns, so that a machine whose speed changes affects both; the ratio of each pair counts."""

from collections.abc import AsyncIterator

from everpost.bench.plan import Plan
from everpost.bench.samples import Results
from everpost.bench.stack import BenchStack
from everpost.bench.throughput import Slice, run_slice, warm_up


async def measure_beside(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Measure the stack on the server, and one on SQLite."""
    async with stack.beside("sqlite", server=None) as sqlite:
        async for ours, base in in_turns(stack, sqlite, plan):
            results.add(beside_server=ours.rate, beside_sqlite=base.rate, beside=ours.rate / base.rate)


async def measure_grown(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Measure the stack, which has a large history, and one with an empty history."""
    async with stack.beside("empty", server=stack.server) as empty:
        async for ours, base in in_turns(stack, empty, plan):
            results.add(grown_large=ours.rate, grown_empty=base.rate, grown=ours.rate / base.rate)


async def in_turns(first: BenchStack, second: BenchStack, plan: Plan) -> AsyncIterator[tuple[Slice, Slice]]:
    """Run slices of both stacks after a warm-up, every second pair in the other order."""
    for stack in (first, second):
        await run_slice(stack, plan, warm_up(plan))
    for number in range(plan.pairs):
        if number % 2:
            other = await run_slice(second, plan, plan.pair_tasks)
            yield await run_slice(first, plan, plan.pair_tasks), other
        else:
            yield await run_slice(first, plan, plan.pair_tasks), await run_slice(second, plan, plan.pair_tasks)
