"""How much is measured: the sizes of a full run, of a quick one, and of the tests' own."""

import msgspec

CONNECTIONS = 64
MOST_SCHEDULED = 1_000_000  # with a large history


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The size of each measurement.

    Attributes:
        runs: How often each is made, after one that warms up and is thrown away.
        connections: Clients at a time.
        engine_jobs: Jobs of the batch engine a run.
        arq_jobs: Jobs of stock arq a run.
        tasks: Tasks accepted, drained, and sent end to end a run.
        one_by_one: Tasks sent one after the other a run.
        retries: Single retries a run, from each store.
        batch_retries: Tasks of one batch retry.
        requests: Requests of each list a run.
        idle_s: Seconds an idle worker is watched a run.
        scheduled: Jobs due tomorrow that stand in the engine's queue meanwhile; stock arq is left out then.
    """

    runs: int = 5
    connections: int = CONNECTIONS
    engine_jobs: int = 60_000
    arq_jobs: int = 10_000
    tasks: int = 20_000
    one_by_one: int = 500
    retries: int = 500
    batch_retries: int = 20_000
    requests: int = 500
    idle_s: float = 5.0
    scheduled: int = 0


FULL = Plan()
QUICK = Plan(
    runs=3,
    engine_jobs=15_000,
    arq_jobs=2_000,
    tasks=4_000,
    one_by_one=100,
    retries=100,
    batch_retries=2_000,
    requests=100,
    idle_s=1.0,
)


def resized(plan: Plan, **sizes: int | None) -> Plan:
    """The plan with some sizes replaced; None among them leaves the plan's own."""
    return msgspec.structs.replace(plan, **{name: size for name, size in sizes.items() if size is not None})


def grown(plan: Plan, rows: int) -> Plan:
    """The plan for a history of so many rows: as many jobs wait in the queue, up to a million."""
    return resized(plan, scheduled=min(rows, MOST_SCHEDULED))
