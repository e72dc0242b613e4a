"""Several workers that share slow tasks: do they use all their slots?"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate

from everpost.bench.plan import Plan
from everpost.bench.samples import Results
from everpost.bench.stack import SLOTS, SLOW, BenchStack
from everpost.bench.throughput import submit_and_wait

WORKERS = 4
SLOTS_IN_ALL = WORKERS * SLOTS

Span = tuple[float, float]
"""Begin and end of an attempt, in seconds."""


async def measure_fleet(stack: BenchStack, plan: Plan, results: Results) -> None:
    """Run the plan's number of tasks, each of which takes a while."""
    for number in plan.rounds:
        report, _ = await submit_and_wait(stack, plan, plan.fleet_tasks, SLOW)
        with stack.store.look() as look:
            spans = read_spans(look.first_attempts(report.ids))
        if number:
            results.add(fleet=most_at_once(spans), fleet_busy=100 * busy_share(spans, SLOTS_IN_ALL))


def read_spans(attempts: Iterable[tuple[str, str]]) -> list[Span]:
    """The spans of recorded attempts."""
    return [(_seconds(started_at), _seconds(finished_at)) for started_at, finished_at in attempts]


def most_at_once(spans: Sequence[Span]) -> int:
    """The largest number of simultaneous attempts; one that begins when another ends does not count as parallel."""
    moves = sorted([(began_s, 1) for began_s, _ in spans] + [(ended_s, -1) for _, ended_s in spans])
    return max(accumulate(step for _, step in moves), default=0)


def busy_share(spans: Sequence[Span], slots: int) -> float:
    """The used share of the slots' time, from the first begin to the last end."""
    took_s = max(ended_s for _, ended_s in spans) - min(began_s for began_s, _ in spans)
    return sum(ended_s - began_s for began_s, ended_s in spans) / (took_s * slots)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
