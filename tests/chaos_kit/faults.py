"""The faults of a scene under load. A fault ends when it is healed and the load has continued."""

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx

from chaos_kit.duress import filled
from chaos_kit.load import HANG_S
from chaos_kit.processes import PythonProcess
from chaos_kit.redis_faults import cut_connections
from chaos_kit.scene import Fault, Scene

API_POINTS = ("commit.before", "commit.after", "enqueue.before", "enqueue.after")
WORKER_POINTS = (
    "commit.before",
    "commit.after",
    "claim.after",
    "send.before",
    "send.amid",
    "send.accepted",
    "send.after",
    "record.before",
    "record.after",
    "release.before",
    "release.after",
)
WHILE = 60  # answers or effects to wait for before, during and after a fault
FEW = 10  # answers after a crash at a named point
VERY_FEW = 3  # answers of one API while another is frozen: clients of the frozen one wait, and soon all do
UNANSWERED = 5  # posts or answers whose client or worker has not been told when the process is killed


async def kill_api(scene: Scene) -> None:
    """Kill -9 of an API with requests in flight."""
    api = scene.chance.choice(scene.apis)
    await scene.load.more(WHILE)
    scene.strike()
    api.kill()
    await api.start()
    await scene.load.more(WHILE)


async def kill_api_amid_accepts(scene: Scene) -> None:
    """Kill -9 of an API whose tasks are on the disk but neither queued nor answered: Valkey is frozen meanwhile."""
    api = scene.chance.choice(scene.apis)
    await scene.load.more(WHILE)
    given_up = await scene.given_up()
    with scene.valkey.frozen(), scene.load.rushing():
        await scene.unanswered(given_up + UNANSWERED)
        scene.strike()
        api.kill()
    await api.start()
    await scene.load.more(WHILE)


async def stop_api(scene: Scene) -> None:
    """SIGTERM of an API under load."""
    api = scene.chance.choice(scene.apis)
    await scene.load.more(WHILE)
    scene.strike()
    if code := await api.stop():
        scene.load.unexpected.append(f"an API ended with {code} after SIGTERM")
    await api.start()
    await scene.load.more(WHILE)


async def crash_api(scene: Scene, point: str) -> None:
    """Kill -9 of an API at a named point."""
    await _crash(scene, scene.chance.choice(scene.apis), point)


async def crash_api_amid_cancel(scene: Scene) -> None:
    """Kill -9 of an API that has taken a task out of its queue, and has not recorded why."""
    api = scene.chance.choice(scene.apis)
    soon = (datetime.now(UTC) + timedelta(seconds=HANG_S)).isoformat()
    async with httpx.AsyncClient(timeout=HANG_S) as client:
        task_id = await scene.load.post(client, scene.chance, is_keyed=True, schedule_time=soon)
        api.arm("withdraw.after")
        with contextlib.suppress(httpx.TransportError):
            await client.post(f"{api.address}/api/v1/tasks/cancel/{task_id}")
    await _restart_crashed(scene, api, "withdraw.after")


async def crash_worker(scene: Scene, point: str) -> None:
    """Kill -9 of a worker at a named point."""
    await _crash(scene, scene.chance.choice(scene.workers), point)


async def _crash(scene: Scene, process: PythonProcess, point: str) -> None:
    process.arm(point)
    await _restart_crashed(scene, process, point)


async def _restart_crashed(scene: Scene, process: PythonProcess, point: str) -> None:
    await process.reached(point)
    scene.strike()
    process.kill()  # it has killed itself, or is about to
    await process.start()
    await scene.load.more(FEW)


async def kill_worker(scene: Scene) -> None:
    """Kill -9 of a worker while it sends."""
    worker = scene.chance.choice(scene.workers)
    await scene.sent(WHILE)
    scene.strike()
    worker.kill()
    await scene.load.more(WHILE)
    await worker.start()
    await scene.sent(WHILE)


async def kill_worker_amid_records(scene: Scene) -> None:
    """Kill -9 of a worker that has sent but could not record it, because another process has locked the database."""
    worker = scene.chance.choice(scene.workers)
    await scene.sent(WHILE)
    with ExitStack() as locked:
        with scene.held_answers():
            await scene.sent(UNANSWERED * len(scene.workers))
            locked.enter_context(scene.kit.locked())
        await scene.answered(UNANSWERED)
        scene.strike()
        worker.kill()
    await worker.start()
    await scene.sent(WHILE)


async def stop_worker(scene: Scene) -> None:
    """SIGTERM of a worker while it sends."""
    worker = scene.chance.choice(scene.workers)
    await scene.sent(WHILE)
    scene.strike()
    if code := await worker.stop():
        scene.load.unexpected.append(f"a worker ended with {code} after SIGTERM")
    await worker.start()
    await scene.sent(WHILE)


async def kill_valkey(scene: Scene) -> None:
    """Kill -9 of Valkey, whose file loses the latest writes; tasks are accepted while it is away."""
    await scene.sent(WHILE)
    size = scene.valkey.size()
    await scene.load.more(WHILE)
    scene.strike()
    scene.valkey.kill()
    scene.valkey.lose_tail(size)
    await scene.load.more(WHILE)
    await scene.valkey.start()
    await scene.sent(WHILE)


async def flush_valkey(scene: Scene) -> None:
    """FLUSHALL."""
    await scene.sent(WHILE)
    scene.strike()
    await scene.redis.flushall()
    await scene.load.more(WHILE)


async def replace_valkey(scene: Scene) -> None:
    """Replace Valkey by an empty one."""
    await scene.sent(WHILE)
    scene.strike()
    scene.valkey.kill()
    await scene.load.more(WHILE)
    await scene.valkey.restart_empty()
    await scene.load.more(WHILE)


async def freeze_worker(scene: Scene) -> None:
    """SIGSTOP of a worker while it sends, until others have ended all its tasks; then it continues, too late.

    The load is eased meanwhile: with more than the others can do, the least urgent tasks would never end.
    """
    await scene.sent(WHILE)
    with frozen_between_writes(scene, scene.chance.choice(scene.workers)), scene.load.eased():
        await scene.ended()
    await scene.sent(WHILE)


async def freeze_api(scene: Scene) -> None:
    """SIGSTOP of an API with requests in flight, while others answer."""
    await scene.load.more(WHILE)
    with frozen_between_writes(scene, scene.chance.choice(scene.apis)):
        await scene.load.more(VERY_FEW if len(scene.apis) > 1 else 0)
    await scene.load.more(WHILE)


@contextlib.contextmanager
def frozen_between_writes(scene: Scene, process: PythonProcess) -> Iterator[None]:
    """SIGSTOP of a process for a while, but not during a write: the lock that it holds would stop all others."""
    with ExitStack() as stack:
        with scene.kit.locked():
            stack.enter_context(process.frozen())
        scene.strike()
        yield


async def lock_database(scene: Scene) -> None:
    """Another process holds a write transaction open until requests are refused."""
    await scene.sent(WHILE)
    with scene.kit.locked():
        scene.strike()
        await scene.load.refused(FEW)
    await scene.sent(WHILE)


async def fill_database_disk(scene: Scene) -> None:
    """Fill the database's disk; without a separate disk, there is always room."""
    await scene.sent(WHILE)
    if scene.has_own_disk:
        with filled(scene.database_file.parent):
            scene.strike()
            await scene.load.refused(FEW)
    await scene.sent(WHILE)


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        kill_api,
        kill_api_amid_accepts,
        stop_api,
        kill_worker,
        kill_worker_amid_records,
        stop_worker,
        kill_valkey,
        flush_valkey,
        replace_valkey,
        cut_connections,
        freeze_worker,
        freeze_api,
        lock_database,
        fill_database_disk,
        crash_api_amid_cancel,
    )
}
FAULTS |= {f"crash_api at {point}": partial(crash_api, point=point) for point in API_POINTS}
FAULTS |= {f"crash_worker at {point}": partial(crash_worker, point=point) for point in WORKER_POINTS}


async def do(scene: Scene, name: str) -> None:
    """Carry out a fault, and count it."""
    scene.faults[name] += 1
    await FAULTS[name](scene)
