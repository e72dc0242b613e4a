"""One worker leads the upkeep, and another one takes its place when it is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from everpost.errors import ServiceError
from everpost.store import Store, open_store
from everpost.store.meta import LEADER
from everpost.testing import eventually
from everpost_workers.upkeep import leadership
from everpost_workers.upkeep.leadership import Leadership
from stores import ADDRESSES, empty_store

LOST_S = 0.6


class Candidate:
    """A worker that takes part, and can be frozen or cut off from Redis."""

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self.has_redis = True
        self.is_frozen = False
        self.done = 0
        self.leadership = Leadership(store.meta, name, lambda: self.has_redis)

    async def run(self) -> None:
        async def work() -> None:
            self.done += 1

        duty = asyncio.create_task(self._repeat(self.leadership.led(work)))
        try:
            await self._repeat(self.leadership.beat)
        finally:
            duty.cancel()

    async def _repeat(self, duty: Callable[[], Awaitable[object]]) -> None:
        while True:
            if not self.is_frozen:
                with suppress(ServiceError):
                    await duty()
            await asyncio.sleep(LOST_S / 6)


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "LOST_S", LOST_S)
    monkeypatch.setattr(leadership, "MARGIN_S", LOST_S / 4)


@pytest.fixture(params=ADDRESSES)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with empty_store(request.param, tmp_path) as address:
        yield address


@asynccontextmanager
async def candidates(address: str, count: int = 3) -> AsyncIterator[list[Candidate]]:
    """Workers of one store, each with its own connections."""
    stores = [await open_store(address) for _ in range(count)]
    workers = [Candidate(f"w{number}", store) for number, store in enumerate(stores)]
    running = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield workers
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for store in stores:
            await store.close()


async def leader_of(workers: list[Candidate]) -> Candidate:
    """The worker that leads, once one of these does; never two at a time."""

    async def find() -> Candidate | None:
        leaders = [worker for worker in workers if worker.leadership.leads]
        assert len(leaders) < 2
        return leaders[0] if leaders else None

    found = await eventually(find, what="a leader")
    assert isinstance(found, Candidate)
    return found


async def test_one_worker_leads_and_only_it_does_the_duties(address: str) -> None:
    async with candidates(address) as workers:
        leader = await leader_of(workers)
        await eventually(lambda: is_at_work(leader, 5), what="its duty")
        assert [worker.name for worker in workers if worker.done] == [leader.name]


async def is_at_work(worker: Candidate, turns: int) -> bool:
    return worker.done >= turns


async def test_a_leader_that_is_frozen_is_replaced_and_does_not_lead_when_it_wakes(address: str) -> None:
    async with candidates(address) as workers:
        first = await leader_of(workers)
        first.is_frozen = True
        second = await leader_of([worker for worker in workers if worker is not first])
        assert not first.leadership.leads
        first.is_frozen = False
        done = first.done
        await eventually(lambda: is_at_work(second, 5), what="the duty of the second")
        assert await leader_of(workers) is second
        assert first.done == done


async def test_a_leader_that_resigns_is_replaced_at_once_and_so_is_one_that_redis_does_not_answer(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership, "LOST_S", 60.0)  # none is lost
    async with candidates(address) as workers:
        first = await leader_of(workers)
        first.is_frozen = True
        await first.leadership.resign()
        second = await leader_of([worker for worker in workers if worker is not first])
        second.has_redis = False
        assert await leader_of([worker for worker in workers if worker not in {first, second}]) is not None


async def test_if_redis_answers_no_worker_the_leader_stays(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "LOST_S", 60.0)
    async with candidates(address) as workers:
        for worker in workers:
            worker.has_redis = False
        leader = await leader_of(workers)
        await eventually(lambda: is_at_work(leader, 5), what="its duty")
        assert await leader_of(workers) is leader


async def test_a_mark_that_another_program_wrote_is_replaced(address: str) -> None:
    store = await open_store(address)
    await store.meta.set(LEADER, "no mark")
    await store.close()
    async with candidates(address, 1) as workers:
        await leader_of(workers)
