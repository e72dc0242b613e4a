"""Which tasks Redis has lost, for more tasks than one command takes."""

import random
from pathlib import Path

from redis.asyncio import Redis

from engine_support import running_server
from everpost.clock import system_clock
from everpost.queue.gates import lane_key
from everpost.queue.keys import PARKED, QUEUE_NAMES, queue_name
from everpost.queue.losses import Losses
from everpost.queue.redis_server import RedisServer
from everpost.task.model import PRIORITIES, QueueEntry

HOUR_MS = 3_600_000
LANES = ("douyin/a", "douyin/b", "kuaishou/a")
THERE = ("queued", "later", "parked", "held")
LOST = (
    "gone",
    "queued without payload",
    "queued too late",
    "parked without payload",
    "not in its lane",
    "lane forgotten",
)


class Places:
    """Puts tasks where `kind` says, all at once."""

    def __init__(self, redis: Redis, now_ms: int) -> None:
        self.now_ms = now_ms
        self.pipe = redis.pipeline(transaction=False)

    def put(self, task: QueueEntry, kind: str, lane: str) -> None:
        if not kind.endswith("without payload"):
            self.pipe.set(f"arq:job:{task.task_id}", "x")
        if kind.startswith("queued") or kind == "later":
            late_ms = HOUR_MS if kind == "queued too late" else 0
            self.pipe.zadd(queue_name(task.priority), {task.task_id: (task.due_at_ms or self.now_ms) + late_ms})
        elif kind.startswith("parked") or kind in {"not in its lane", "lane forgotten"}:
            lane = "forgotten/a" if kind == "lane forgotten" else lane
            self.pipe.hset(PARKED, task.task_id, lane_key(lane))
            if kind != "not in its lane":
                self.pipe.zadd(lane_key(lane), {task.task_id: 1})
        elif kind == "held":
            self.pipe.set(f"arq:in-progress:{task.task_id}", "w", px=HOUR_MS)


async def test_the_lost_ones_of_very_many_tasks_are_found_in_their_order(tmp_path: Path) -> None:
    chance, now_ms = random.Random(1), system_clock()
    kinds = [*THERE, *LOST] * 350
    chance.shuffle(kinds)
    tasks = [
        QueueEntry(
            task_id=f"task{number}",
            priority=chance.choice(PRIORITIES),
            created_at_ms=now_ms,
            due_at_ms=now_ms + HOUR_MS if kind == "later" else None,
        )
        for number, kind in enumerate(kinds)
    ]
    with running_server(tmp_path) as server:
        redis = Redis(unix_socket_path=str(server.socket_path))
        try:
            places = Places(redis, now_ms)
            for lane in LANES:
                places.pipe.hset("everpost:lanes", lane, "douyin")
            for task, kind in zip(tasks, kinds, strict=True):
                places.put(task, kind, chance.choice(LANES))
            await places.pipe.execute()
            losses = Losses(RedisServer(redis), system_clock)
            lost = [task for task, kind in zip(tasks, kinds, strict=True) if kind in LOST]
            assert await losses.missing_among(tasks) == lost
            await redis.delete(PARKED, *QUEUE_NAMES)
            await redis.set(PARKED, "another program's")
            held = [task for task, kind in zip(tasks, kinds, strict=True) if kind == "held"]
            assert await losses.missing_among(tasks) == [task for task in tasks if task not in held]
        finally:
            await redis.aclose()
