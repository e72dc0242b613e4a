"""Searches over HTTP: they end with their time or with their client, and nothing else waits for them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from api_support import Api, assert_problem, running_valkey, serving
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.file.searches import SEARCHERS, Searches
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.lists import finder
from everpost.store.sqlite.lists.search import Hits
from everpost.testing import eventually

FOREVER = "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n) SELECT sum(value) FROM n"
SEARCH = "/api/v1/tasks?q=x"
DRY_RUN = {"filter": {"q": "x"}, "dry_run": True}


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_valkey(tmp_path) as valkey, serving(tmp_path, valkey) as served:
        yield served


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Searches]:
    """Searches have no end; those begun are in the list."""
    begun: list[Searches] = []
    run = Searches.run

    async def note(self: Searches, *args: Any) -> Any:
        begun.append(self)
        return await run(self, *args)

    def search_for_ever(connection: sqlite3.Connection, _: object) -> Hits:
        connection.execute(FOREVER).fetchone()
        return Hits(())

    monkeypatch.setattr(Searches, "run", note)
    monkeypatch.setattr(finder, "find_hits", search_for_ever)
    return begun


async def under_way(begun: list[Searches], count: int) -> bool:
    return sum(len(searches._running) for searches in set(begun)) == count


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_search_whose_client_hangs_up_is_stopped(api: Api, begun: list[Searches], method: str) -> None:
    asked = api.client.get(SEARCH) if method == "GET" else api.client.post("/api/v1/tasks/batch/cancel", json=DRY_RUN)
    search = asyncio.create_task(asked)
    await eventually(lambda: under_way(begun, 1), what="a search under way")
    search.cancel()  # the client closes the connection
    await eventually(lambda: under_way(begun, 0), timeout_s=3, what="the end of the search")


@pytest.mark.chaos
async def test_a_search_that_takes_too_long_is_refused_and_other_reads_go_on(
    api: Api, begun: list[Searches], monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Database.search

    async def search_briefly(self: Database, operation: Any, *, within_s: float, looks_far: bool) -> Any:
        return await search(self, operation, within_s=3 if looks_far else 10 * within_s, looks_far=looks_far)

    monkeypatch.setattr(Database, "search", search_briefly)
    task_id = await api.publish()
    asked = [asyncio.create_task(api.client.get(SEARCH)) for _ in range(2 * SEARCHERS)]
    await eventually(lambda: under_way(begun, SEARCHERS), what="searches under way")
    for path in (f"/api/v1/tasks/{task_id}", "/api/v1/tasks", "/api/v1/tasks/stats", "/api/v1/tasks/logs/recent"):
        assert (await api.client.get(path)).status_code == 200
    assert not any(search.done() for search in asked)
    for answer in await asyncio.gather(*asked):
        assert_problem(answer, 503, "search_timeout")
        assert answer.headers["retry-after"] == "5"
