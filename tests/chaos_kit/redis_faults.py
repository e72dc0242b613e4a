"""Faults of Redis: it is silent, slow, refuses, forgets, or comes back with an old state.

Tasks are accepted meanwhile, and `scene.waits_s` records how long their clients waited.
"""

from chaos_kit.scene import Fault, Scene

WHILE = 40  # answers or effects to wait for before, during and after a fault
RESTARTS = 8
LATENCY_S = 0.1
HEADER = 3  # bytes of a reply after which its connection is cut


async def accept_meanwhile(scene: Scene) -> None:
    """Wait until more tasks were accepted, and record how long each took."""
    with scene.load.timed() as waits_s:
        await scene.load.more(WHILE)
    scene.waits_s += waits_s


async def freeze_valkey(scene: Scene) -> None:
    """SIGSTOP until all processes have given up on Redis."""
    await scene.sent(WHILE)
    before = scene.logged()
    with scene.valkey.frozen():
        await accept_meanwhile(scene)
        await scene.said("queue.away", scene.apis, before)
        await scene.said("redis.trouble", scene.workers, before)
        await accept_meanwhile(scene)
    await scene.sent(WHILE)


async def black_hole(scene: Scene) -> None:
    """The network holds everything back, and delivers it much later."""
    await scene.sent(WHILE)
    before = scene.logged()
    with scene.proxy.black_hole():
        await accept_meanwhile(scene)
        await scene.said("queue.away", scene.apis, before)
        await accept_meanwhile(scene)
    await scene.sent(WHILE)


async def slow_connections(scene: Scene) -> None:
    """Everything takes longer than a client should wait for its 202."""
    await scene.sent(WHILE)
    with scene.proxy.slow(LATENCY_S):
        await accept_meanwhile(scene)
        await scene.sent(WHILE)
        await accept_meanwhile(scene)


async def cut_connections(scene: Scene) -> None:
    """Connections break during a reply: the command has been carried out, and the client does not know."""
    await scene.sent(WHILE)
    before = scene.logged()
    with scene.proxy.cutting_replies(HEADER):
        await accept_meanwhile(scene)
        await scene.said("queue.away", scene.apis, before)
        await accept_meanwhile(scene)
    scene.proxy.cut()
    await scene.sent(WHILE)


async def fill_memory(scene: Scene) -> None:
    """No memory is left, and Redis evicts nothing: it refuses every write that needs memory."""
    await scene.sent(WHILE)
    await scene.redis.config_set("maxmemory", "1")
    await accept_meanwhile(scene)
    await scene.redis.config_set("maxmemory", "0")
    await scene.sent(WHILE)


async def fill_disk(scene: Scene) -> None:
    """Redis cannot save: it refuses every write (MISCONF)."""
    await scene.sent(WHILE)
    before = scene.logged()
    async with scene.valkey.unable_to_save(scene.redis):
        await accept_meanwhile(scene)
        await scene.said("MISCONF", scene.workers, before)
    await scene.sent(WHILE)


async def evict_keys(scene: Scene) -> None:
    """The wrong policy: Redis drops jobs, leases and queues for lack of memory."""
    await scene.sent(WHILE)
    await scene.redis.config_set("maxmemory-policy", "allkeys-random")
    await scene.redis.config_set("maxmemory", str((await scene.redis.info("memory"))["used_memory"] - 50_000))
    await accept_meanwhile(scene)
    await scene.evicted()
    await scene.redis.config_set("maxmemory", "0")
    await scene.redis.config_set("maxmemory-policy", "noeviction")
    await scene.sent(WHILE)


async def restart_valkey_often(scene: Scene) -> None:
    """Kill -9 and a restart, again and again."""
    await scene.sent(WHILE)
    for _ in range(RESTARTS):
        scene.valkey.kill()
        await scene.load.more(1)
        await scene.valkey.start()
    await accept_meanwhile(scene)
    await scene.sent(WHILE)


async def restore_old_dump(scene: Scene) -> None:
    """Redis starts from an old copy: it has jobs that have ended, and lacks waiting ones."""
    await scene.sent(WHILE)
    scene.valkey.keep_copy()
    await scene.sent(WHILE)
    scene.valkey.kill()
    await accept_meanwhile(scene)
    scene.valkey.put_back_copy()
    await scene.valkey.start()
    await scene.sent(WHILE)


REDIS_FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        freeze_valkey,
        black_hole,
        slow_connections,
        cut_connections,
        fill_memory,
        fill_disk,
        evict_keys,
        restart_valkey_often,
        restore_old_dump,
    )
}
