"""arq's queues on one Redis, split by use. The worker's side is `everpost_workers.engine`."""

from redis.asyncio import Redis

from everpost.clock import Clock, system_clock
from everpost.queue.enqueuer import Enqueuer
from everpost.queue.event_log import EventLog
from everpost.queue.event_teller import EventTeller
from everpost.queue.gates import Gates
from everpost.queue.jobs import Jobs
from everpost.queue.key_rates import KeyRates
from everpost.queue.losses import Losses
from everpost.queue.pool import connection_pool
from everpost.queue.progress import ProgressNotes
from everpost.queue.redis_server import RedisServer
from everpost.queue.timelines import Timelines
from everpost.queue.workers import Workers

LEASE_S = 15.0  # the default of `EVERPOST_LEASE`


class TaskQueue:
    """The parts that share one Redis.

    Attributes:
        redis: The client, for tests.
        server: The server itself: whether it answers, and its configuration.
        enqueuer: Puts accepted tasks into their queues; it never raises.
        jobs: Finds, counts and withdraws jobs.
        losses: The relay's questions.
        gates: Which claimed tasks may begin, and which wait.
        workers: The living workers.
        progress: How far running attempts have come.
        timelines: Which PostgreSQL was promoted last.
        events: Tells readers of events what happens to tasks.
        event_log: Reads what is told.
    """

    def __init__(
        self, redis: Redis, clock: Clock = system_clock, *, may_repair: bool = True, lease_s: float = LEASE_S
    ) -> None:
        """`may_repair` moves shared keys of a wrong type out of the way when a command meets one.

        `lease_s` is that of the workers: an emptied Redis admits no task with a limit for so long.
        """
        self.redis = redis
        self.server = RedisServer(redis, may_repair=may_repair)
        self.enqueuer = Enqueuer(self.server, clock)
        self.jobs = Jobs(self.server, clock)
        self.losses = Losses(self.server, clock)
        self.gates = Gates(self.server, lease_s)
        self.workers = Workers(self.server)
        self.progress = ProgressNotes(self.server)
        self.key_rates = KeyRates(self.server)
        self.timelines = Timelines(self.server)
        self.events = EventTeller(self.server)
        self.event_log = EventLog(self.server)

    @classmethod
    def connect(
        cls, address: str, clock: Clock = system_clock, *, may_repair: bool = True, lease_s: float = LEASE_S
    ) -> "TaskQueue":
        """A queue on `address`; it connects when it is first used."""
        return cls(Redis(connection_pool=connection_pool(address)), clock, may_repair=may_repair, lease_s=lease_s)

    async def close(self) -> None:
        """Send what was enqueued, then close the connections."""
        await self.enqueuer.drain()
        await self.jobs.drain()
        await self.event_log.close()
        await self.server.close()
