"""The sizes of the measurements: for a full run, a quick one, and the tests."""

import msgspec

CONNECTIONS = 64


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The size of each measurement.

    Attributes:
        runs: How many times each is made, not counting warm-ups.
        warm_ups: The number of warm-up runs, which are thrown away: one or none.
        connections: Simultaneous clients.
        engine_jobs: Jobs of the batch engine per run.
        arq_jobs: Jobs of stock arq per run.
        claim_jobs: Jobs claimed per run, alone and among other jobs.
        due, scheduled: The other jobs: due ones, and ones of tomorrow.
        tasks: Tasks accepted, drained, and sent end to end per run.
        fleet_tasks: Tasks per run that several workers share.
        one_by_one: Tasks sent one after the other per run.
        due_times: Scheduled tasks, each due at its own time, per run.
        retries: Single retries per run, from each store.
        batch_retries: Tasks of one batch retry.
        requests: Requests of each list per run.
        backlog: Tasks that wait while memory is measured.
        limited: Tasks of a limited or held account that wait while others are measured.
        idle_s: Seconds an idle worker is watched per run.
        pairs: How often two stacks are measured in turns.
        pair_tasks: Tasks of each turn, for each API.
        settle_s: Seconds until an idle server has counted what it did; PostgreSQL's processes wait for 10 s.
    """

    runs: int = 5
    warm_ups: int = 1
    connections: int = CONNECTIONS
    engine_jobs: int = 60_000
    arq_jobs: int = 10_000
    claim_jobs: int = 20_000
    due: int = 100_000
    scheduled: int = 1_000_000
    tasks: int = 20_000
    fleet_tasks: int = 2_000
    one_by_one: int = 500
    due_times: int = 200
    retries: int = 500
    batch_retries: int = 20_000
    requests: int = 500
    backlog: int = 1_000_000
    limited: int = 100_000
    idle_s: float = 5.0
    pairs: int = 12
    pair_tasks: int = 8_000
    settle_s: float = 10.5

    @property
    def rounds(self) -> range:
        """The numbers of all runs; 0 is the warm-up."""
        return range(1 - self.warm_ups, self.runs + 1)


FULL = Plan()
QUICK = Plan(
    runs=3,
    engine_jobs=10_000,
    arq_jobs=1_000,
    claim_jobs=4_000,
    due=10_000,
    scheduled=50_000,
    tasks=2_000,
    fleet_tasks=400,
    one_by_one=100,
    due_times=100,
    retries=100,
    batch_retries=1_000,
    requests=100,
    backlog=20_000,
    limited=5_000,
    idle_s=1.0,
    pairs=4,
    pair_tasks=2_000,
)


def resized(plan: Plan, **sizes: int | None) -> Plan:
    """The plan with some sizes replaced; None keeps the plan's own size."""
    return msgspec.structs.replace(plan, **{name: size for name, size in sizes.items() if size is not None})
