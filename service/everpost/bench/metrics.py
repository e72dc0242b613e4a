"""The metrics: title, unit and goal of each."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from everpost.bench.samples import Summary


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table.

    Attributes:
        group: The measurement that gives it; `--only` names these.
        goal: The least the median should be, or with `less_is_better` the most; with `worst`, this holds for every run.
        base: The metric it is compared with.
        goal_ratio: The least multiple of `base` it should be, or with `less_is_better` the largest.
    """

    name: str
    group: str
    title: str
    unit: str
    less_is_better: bool = False
    goal: float | None = None
    worst: bool = False
    base: str | None = None
    goal_ratio: float | None = None


def _more(name: str, group: str, title: str, unit: str, goal: float | None = None, **rest: object) -> Metric:
    return msgspec.convert({"name": name, "group": group, "title": title, "unit": unit, "goal": goal, **rest}, Metric)


def _less(name: str, group: str, title: str, unit: str, goal: float | None = None, **rest: object) -> Metric:
    return _more(name, group, title, unit, goal, less_is_better=True, **rest)


PARTS = {"api": "APIs", "worker": "workers", "valkey": "Valkey", "database": "PostgreSQL"}
_SCALE = (
    _more("scale_one", "scale", "In turns: end to end, 1 API and 1 worker", "tasks/s"),
    _more("scale_four", "scale", "... 4 APIs and 4 workers, 4 times the clients", "tasks/s"),
    *(_less(f"scale_one_{part}", "scale", f"... CPU a task, 1 + 1: {name}", "ms") for part, name in PARTS.items()),
    *(_less(f"scale_four_{part}", "scale", f"... CPU a task, 4 + 4: {name}", "ms") for part, name in PARTS.items()),
    *(
        _less(f"scale_{part}", "scale", f"... CPU a task, 4 + 4 to 1 + 1: {name}", "x", 1.15)
        for part, name in PARTS.items()
    ),
    _less("scale_one_fsyncs", "scale", "... flushes to the disk for 1,000 tasks, 1 + 1", "fsyncs"),
    _less(
        "scale_four_fsyncs", "scale", "... flushes to the disk for 1,000 tasks, 4 + 4", "fsyncs",
        base="scale_one_fsyncs", goal_ratio=1,
    ),
    _more("scale_one_group", "scale", "... tasks of a write transaction, 1 + 1", "tasks"),
    _more("scale_four_group", "scale", "... tasks of a write transaction, 4 + 4", "tasks"),
    _less("scale_one_wal", "scale", "... write-ahead log a task, 1 + 1", "KB"),
    _less("scale_four_wal", "scale", "... write-ahead log a task, 4 + 4", "KB"),
    _more("scale_apart", "scale", "In turns with 4 + 4: end to end, 4 stacks of 1 + 1 at once", "tasks/s"),
    *(_less(f"scale_apart_{part}", "scale", f"... CPU a task, 4 stacks: {name}", "ms") for part, name in PARTS.items()),
    *(
        _less(f"scale_shared_{part}", "scale", f"... CPU a task, 4 + 4 to 4 stacks: {name}", "x", 1.15)
        for part, name in PARTS.items()
    ),
    _less("scale_waits", "scale", "... looks that found a connection waiting for a lock, 4 + 4", "%", 0, worst=True),
)  # fmt: skip


def _lane(group: str, kind: str) -> tuple[Metric, ...]:
    """The rows of a measurement with tasks that wait outside the queue."""
    none, many = f"{group}_none", f"{group}_many"
    return (
        _more(f"{group}_parked", group, f"Due tasks of a {kind} account, into their lane", "tasks/s"),
        _more(none, group, f"In turns: end to end of others, none of a {kind} account waits", "tasks/s"),
        _more(many, group, "... many wait", "tasks/s"),
        _more(group, group, "... many to none, in each pair of turns", "x", 0.9),
        _less(f"{none}_cpu", group, "... CPU a task, none waits", "ms"),
        _less(f"{many}_cpu", group, "... CPU a task, many wait", "ms"),
        _less(f"{none}_p50", group, "Idle, in turns: answer to recorded, p50, none waits", "ms"),
        _less(f"{many}_p50", group, "... many wait", "ms", base=f"{none}_p50", goal_ratio=1.1),
        _less(f"{none}_p99", group, "... p99, none waits", "ms"),
        _less(f"{many}_p99", group, "... many wait", "ms", base=f"{none}_p99", goal_ratio=1.25),
    )


METRICS = (
    _more("engine_arq", "engine", "Engine alone, no SQLite: stock arq.Worker, poll 0.01 s", "jobs/s"),
    _more(
        "engine", "engine", "Engine alone, no SQLite: BatchWorker", "jobs/s", 32_000, base="engine_arq", goal_ratio=10
    ),
    _less("engine_arq_cpu", "engine", "... CPU, stock arq.Worker", "ms/job"),
    _less("engine_cpu", "engine", "... CPU, BatchWorker", "ms/job"),
    _less("claim", "claims", "Claim, nothing else in the queue", "µs/job"),
    _less("claim_deep", "claims", "... many more due and scheduled", "µs/job", base="claim", goal_ratio=1.2),
    _more("drain", "accept", "Worker with the durable record, a full queue", "tasks/s", 20_000),
    _more("accept", "accept", "Accept over HTTP, one API process", "tasks/s", 9_000),
    _less("accept_p50", "accept", "... wait for the answer, p50", "ms"),
    _less("accept_p99", "accept", "... wait for the answer, p99", "ms", 20),
    _more("accept_two", "two", "Accept, two API processes on one file", "tasks/s", base="accept", goal_ratio=1),
    _less("accept_two_worst", "two", "... the worst wait", "ms", 500, worst=True),
    _more("end_to_end", "end", "End to end: submitted, run, recorded", "tasks/s"),
    _more("end_to_end_submit", "end", "... answers meanwhile", "tasks/s"),
    _less("cpu", "end", "CPU a task: API + worker + Valkey", "ms", 0.22),
    _less("cpu_api", "end", "... API", "ms"),
    _less("cpu_worker", "end", "... worker", "ms"),
    _less("cpu_valkey", "end", "... Valkey", "ms"),
    _less("cpu_database", "end", "... PostgreSQL", "ms", 0.05),
    _less("rss_api", "end", "Memory under load (most resident): API", "MB", 70),
    _less("rss_worker", "end", "Memory under load (most resident): worker", "MB", 60),
    _more("beside_sqlite", "beside", "In turns: end to end on SQLite", "tasks/s"),
    _more("beside_server", "beside", "... on PostgreSQL", "tasks/s"),
    _more("beside", "beside", "... PostgreSQL to SQLite, in each pair of turns", "x", 0.8),
    *_SCALE,
    _more("fleet", "fleet", "Attempts under way at once, 4 workers of 100 slots", "tasks", 400, worst=True),
    _more("fleet_busy", "fleet", "... share of the slots' time in use", "%"),
    _less("due_p50", "due", "Idle: due time to start, p50", "ms"),
    _less("due_p99", "due", "Idle: due time to start, p99", "ms", 50),
    _less("due_together_p99", "due", "Idle: due time to start of many at once, p99", "ms", 50),
    _less("recorded_p50", "idle", "Idle: answer to recorded, p50", "ms", 1),
    _less("recorded_p99", "idle", "Idle: answer to recorded, p99", "ms", 3),
    _less("whole_p50", "idle", "Idle: request to recorded, p50", "ms"),
    _less("whole_p99", "idle", "Idle: request to recorded, p99", "ms"),
    _less("idle_worker", "idle", "An idle worker's CPU", "%", 1),
    _less("retry_redis_p50", "retry", "Idle: retry from Redis, p50", "ms", 0.9),
    _less("retry_redis_p99", "retry", "Idle: retry from Redis, p99", "ms"),
    _less("retry_sqlite_p50", "retry", "Idle: retry from SQLite, gone from Redis, p50", "ms", 0.9),
    _less("retry_sqlite_p99", "retry", "... p99", "ms"),
    _less("retry_redis_row_p50", "retry", "One retry right after the other: from Redis, p50", "ms"),
    _less("retry_sqlite_row_p50", "retry", "... from SQLite, p50", "ms"),
    _more("batch_retry", "retry", "Batch retry by filter, no worker running", "tasks/s", 10_000),
    _less("list_p99", "list", "List: newest 50, p99", "ms"),
    _less("filter_p99", "list", "List: by status, platform and account, p99", "ms"),
    _less("find_p99", "list", "One task by id, p99", "ms"),
    _less("rss_api_backlog", "backlog", "Memory under load and a backlog: API", "MB", 70, base="rss_api"),
    _less("rss_worker_backlog", "backlog", "Memory under load and a backlog: worker", "MB", 60, base="rss_worker"),
    _less("relay_round", "backlog", "... until the relay has looked for all of it", "s"),
    *_lane("limits", "limited"),
    *_lane("held", "held"),
    _more("held_resumed", "held", "The same tasks, from the account's resumption to the last record", "tasks/s"),
    _less("start_api", "start", "`everpost api` until it answers", "s", 0.8),
    _less("start_worker", "start", "`everpost worker` until it claims", "s", 0.6),
    _more("grown_empty", "grown", "In turns: end to end with an empty history", "tasks/s"),
    _more("grown_large", "grown", "... with the large one", "tasks/s"),
    _more("grown", "grown", "... large to empty, in each pair of turns", "x", 0.9),
)

METRIC_OF: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in METRICS})
GROUPS = tuple(dict.fromkeys(metric.group for metric in METRICS))
GROWING = ("accept", "two", "end", "idle", "retry", "list", "start", "grown")


def is_reached(metric: Metric, seen: Summary, ratio: float | None) -> bool | None:
    """Whether the goals are reached; None if no goals are set."""
    verdicts = []
    if metric.goal is not None:
        least, most = (seen.min, seen.max) if metric.worst else (seen.median, seen.median)
        verdicts.append(most <= metric.goal if metric.less_is_better else least >= metric.goal)
    if metric.goal_ratio is not None and ratio is not None:
        verdicts.append(ratio <= metric.goal_ratio if metric.less_is_better else ratio >= metric.goal_ratio)
    return all(verdicts) if verdicts else None
