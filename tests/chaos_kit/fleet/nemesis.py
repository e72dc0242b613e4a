"""The faults of a fleet. Each begins when its context is entered, and is healed when that is left.

Chance, which the seed decides, chooses the parties and for how long.
"""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager, suppress
from typing import Any

from redis.exceptions import ResponseError

from chaos_kit.fleet.scene import APIS, CLIENTS, SENTINELS, WORKERS, FleetScene
from chaos_kit.processes import frozen
from everpost.testing import eventually

API_NAMES = tuple(f"api{number}" for number in range(APIS))
PARTIES = (*API_NAMES, *(f"worker{number}" for number in range(WORKERS)))
SHORTEST_S, USUAL_S = 0.5, 5.0  # of a fault; Sentinels replace a master after 1 s
LONG_S = 12.0  # more than the 10 s after which the system gives up a silent peer
LONG = 0.1  # the share of faults that take so long
SLOW_S, LOSS = 0.2, 0.2
FEW = 10  # answers and effects after a fault, which show that it is over

Fault = Callable[[FleetScene], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def cut_link(scene: FleetScene) -> AsyncIterator[None]:
    """Lose everything between two parties that talk with each other."""
    first, second = await _link(scene)
    with _harmed(scene, f"cut {first} | {second}", first, second):
        scene.network.cut(first, second)
        yield


@asynccontextmanager
async def cut_one_way(scene: FleetScene) -> AsyncIterator[None]:
    """The same in one direction only; the other party's packets arrive."""
    first, second = scene.chance.sample(await _link(scene), 2)
    with _harmed(scene, f"cut {first} -> {second}", first, second):
        scene.network.harm(first, second, loss=1, is_one_way=True)
        yield


@asynccontextmanager
async def cut_host(scene: FleetScene) -> AsyncIterator[None]:
    """Lose everything between one host and all others."""
    name = await _some_host(scene)
    with _harmed(scene, f"cut {name} | all", name):
        scene.network.cut(name, *scene.network.others(name))
        yield


@asynccontextmanager
async def slow_host(scene: FleetScene) -> AsyncIterator[None]:
    """Delay everything between one host and all others."""
    name = await _some_host(scene)
    with _harmed(scene, f"delay {name} by {SLOW_S * 1000:g} ms", name):
        for other in scene.network.others(name):
            scene.network.harm(name, other, delay_s=SLOW_S)
        yield


@asynccontextmanager
async def lossy_host(scene: FleetScene) -> AsyncIterator[None]:
    """Lose some of the packets between one host and all others."""
    name = await _some_host(scene)
    with _harmed(scene, f"drop {LOSS:.0%} at {name}", name):
        for other in scene.network.others(name):
            scene.network.harm(name, other, loss=LOSS)
        yield


@asynccontextmanager
async def kill_process(scene: FleetScene) -> AsyncIterator[None]:
    """Kill -9 of an API or a worker."""
    process = scene.process_of(scene.chance.choice(PARTIES))
    scene.tell(f"kill {process.name}")
    process.kill()
    yield
    await process.start()


@asynccontextmanager
async def freeze_process(scene: FleetScene) -> AsyncIterator[None]:
    """SIGSTOP of an API or a worker."""
    process = scene.process_of(scene.chance.choice(PARTIES))
    scene.tell(f"freeze {process.name}")
    with scene.excused(process.name), process.frozen():
        yield


@asynccontextmanager
async def kill_master(scene: FleetScene) -> AsyncIterator[None]:
    """Kill -9 of Redis's master, which comes back empty."""
    name = await scene.master()
    scene.tell(f"kill {name}, the master")
    scene.node_of(name).kill()
    yield
    await scene.fleet.start()


@asynccontextmanager
async def freeze_master(scene: FleetScene) -> AsyncIterator[None]:
    """SIGSTOP of Redis's master."""
    name = await scene.master()
    scene.tell(f"freeze {name}, the master")
    with frozen(scene.node_of(name).child):
        yield


@asynccontextmanager
async def fail_over(scene: FleetScene) -> AsyncIterator[None]:
    """Ask the Sentinels to replace the master; they may refuse, or give up, soon after an earlier failover."""
    await scene.fleet.is_whole()
    scene.tell(f"SENTINEL FAILOVER of {await scene.master()}")
    with suppress(ResponseError):
        await scene.fleet.ask_for_failover()
    yield


@asynccontextmanager
async def kill_sentinel(scene: FleetScene) -> AsyncIterator[None]:
    """Kill -9 of a Sentinel."""
    name = scene.chance.choice(SENTINELS)
    scene.tell(f"kill {name}")
    scene.node_of(name).kill()
    yield
    await scene.fleet.start()


@asynccontextmanager
async def kill_primary(scene: FleetScene) -> AsyncIterator[None]:
    """Kill -9 of PostgreSQL's primary, which starts again."""
    scene.tell(f"kill {scene.primary}, the primary")
    scene.pair.kill(scene.pair.primary)
    yield
    await scene.pair.restart(scene.pair.primary)


@asynccontextmanager
async def freeze_primary(scene: FleetScene) -> AsyncIterator[None]:
    """SIGSTOP of PostgreSQL's primary."""
    scene.tell(f"freeze {scene.primary}, the primary")
    scene.pair.primary.signal_all(signal.SIGSTOP)
    try:
        yield
    finally:
        scene.pair.primary.signal_all(signal.SIGCONT)


@asynccontextmanager
async def promote(scene: FleetScene) -> AsyncIterator[None]:
    """Kill -9 of PostgreSQL's primary; the standby is promoted, and later the old primary follows it.

    With a synchronous standby, everything goes on alone. Otherwise, dispatch must pause until it is resumed. Then the
    standby has everything before the primary is killed, because the checks find every lost task.
    """
    old = scene.primary
    if not scene.is_synchronous:
        scene.network.cut(old, *(name for name in PARTIES))
        await scene.pair.caught_up()
    scene.tell(f"kill {old}, the primary, and promote the other one")
    scene.pair.kill(scene.pair.primary)
    scene.network.heal()
    await scene.pair.promote()
    yield
    await scene.pair.rejoin()
    if not scene.is_synchronous:
        await resume(scene)


@asynccontextmanager
async def promote_past_a_living_primary(scene: FleetScene) -> AsyncIterator[None]:
    """Cut the primary off from its standby and some of the others, and promote the standby: two primaries for a while.

    Without synchronous replication that would lose what the old one accepts, so an operator would stop it before.
    """
    old = scene.primary
    if not scene.is_synchronous:
        async with promote(scene):
            yield
        return
    left = scene.chance.sample(PARTIES, len(PARTIES) // 2)
    scene.tell(f"cut {old}, the primary, off from all but {', '.join(left)}, and promote the other one")
    scene.network.cut(old, *(name for name in scene.network.others(old) if name not in left))
    await scene.pair.promote()
    yield
    scene.tell(f"{old} is to follow")
    scene.pair.kill(scene.pair.standby)
    scene.network.heal()
    await scene.pair.rejoin()


async def resume(scene: FleetScene) -> dict[str, Any]:
    """Wait for the pause that follows a promotion that may have lost commits, and end it; what became of tasks."""

    async def is_paused() -> bool:
        return all(await scene.pauses())

    await eventually(is_paused, what="the pause after a promotion")
    resumed = await scene.resume()
    counts = ", ".join(f"{count} {name}" for name, count in resumed.items() if name != "pause")
    scene.tell(f"dispatch was paused, and is resumed: {counts}")
    return resumed


async def _link(scene: FleetScene) -> tuple[str, str]:
    """Two parties that talk with each other."""
    master = await scene.master()
    replica = next(name for name in ("redis0", "redis1") if name != master)
    standby = scene.name_of(scene.pair.standby.host)
    party, sentinel = scene.chance.choice(PARTIES), scene.chance.choice(SENTINELS)
    links = [
        *((party, scene.primary), (party, master), (party, sentinel), (CLIENTS, scene.chance.choice(API_NAMES))),
        *((scene.primary, standby), (master, replica), (sentinel, master)),
    ]
    return scene.chance.choice(links)


async def _some_host(scene: FleetScene) -> str:
    servers = (scene.primary, scene.name_of(scene.pair.standby.host), await scene.master(), *SENTINELS[:1])
    return scene.chance.choice([*PARTIES, *servers])


def _harmed(scene: FleetScene, what: str, *names: str) -> ExitStack:
    """Tell of it, expect no answer of the APIs among these hosts in time, and heal the network at the end."""
    scene.tell(what)
    stack = ExitStack()
    stack.enter_context(scene.excused(*(name for name in names if name in API_NAMES)))
    stack.callback(scene.network.heal)
    return stack


NETWORK: dict[str, Fault] = {
    fault.__name__: fault for fault in (cut_link, cut_one_way, cut_host, slow_host, lossy_host)
}
PROCESSES: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (kill_process, freeze_process, kill_master, freeze_master, fail_over, kill_sentinel, kill_primary)
}
FAULTS = {
    **NETWORK,
    **PROCESSES,
    **{fault.__name__: fault for fault in (freeze_primary, promote, promote_past_a_living_primary)},
}
DOUBLE = 0.3  # the share of network faults that come with one of a process


def dealt(seed: object) -> Iterator[list[str]]:
    """Faults that come together, in an order the seed chooses; none comes twice before all were dealt."""
    chance = random.Random(str(seed))
    while True:
        for name in chance.sample(sorted(FAULTS), len(FAULTS)):
            more = [chance.choice(sorted(PROCESSES))] if name in NETWORK and chance.random() < DOUBLE else []
            yield [name, *more]


async def do(scene: FleetScene, names: Sequence[str]) -> None:
    """Carry out faults for a while, heal them, and wait until tasks are accepted and sent again."""
    scene.faults.update(names)
    scene.strike()
    lasts_s = LONG_S if scene.chance.random() < LONG else scene.chance.uniform(SHORTEST_S, USUAL_S)
    async with AsyncExitStack() as stack:
        for name in names:
            await stack.enter_async_context(FAULTS[name](scene))
        await asyncio.sleep(lasts_s)
        if len(names) > 1:
            scene.network.heal()  # servers that were killed need it to be whole again
    began_s = time.monotonic()
    try:
        await scene.load.more(FEW)
        await scene.sent(FEW)
    except TimeoutError as error:
        error.add_note(f"after {names}; is dispatch paused, according to each API: {await scene.pauses()}")
        raise
    scene.recovered_s.append(time.monotonic() - began_s)
    scene.tell(f"  over; accepts and sends after {scene.recovered_s[-1]:.1f} s")
