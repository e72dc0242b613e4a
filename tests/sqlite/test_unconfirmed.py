"""Writes of which it is unknown whether the disk has them, and a log that is deleted under its writers."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx

from chaos_kit.duress import failing
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass
from everpost.store.sqlite.library import sqlite3
from everpost.testing import eventually

KEY = {"Idempotency-Key": "the-post"}
POST = {"platform": 1, "account_id": "a"}
TITLES = """
SELECT count(*) FROM (SELECT title FROM task_queue UNION ALL SELECT title FROM publish_tasks) WHERE title = 'the post'
"""


@asynccontextmanager
async def client_of(scene: Scene) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=scene.addresses()[0], timeout=10) as client:
        yield client


async def post(scene: Scene, title: str = "the post", **headers: str) -> tuple[int, dict[str, Any]]:
    async with client_of(scene) as client:
        answer = await client.post("/api/v1/publish", json={**POST, "title": title}, headers=headers)
    return answer.status_code, json.loads(answer.content)


def count(database: Path, statement: str) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute(statement).fetchone()[0])


async def test_a_post_refused_at_its_flush_is_called_unconfirmed_and_its_repetition_finds_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path, seed=11, publisher_class=PublisherClass.KEYED, workers=0)
    async with playing(scene):
        (api,) = scene.apis
        assert (await post(scene, title="earlier"))[0] == 202  # it begins the log, whose first flush is of its header
        async with failing(api, scene.log_of_database, "fsync,fdatasync", "error=EIO"):
            status, problem = await post(scene, **KEY)
            assert (status, problem["code"]) == (503, "write_unconfirmed")
            assert "same Idempotency-Key" in problem["detail"]
            api.kill()
        await api.start()
        assert count(scene.database_file, TITLES) == 1  # the log had it
        status, first = await post(scene, **KEY)
        assert status == 202
        assert await post(scene, **KEY) == (202, first)
        assert count(scene.database_file, TITLES) == 1
        task = f"SELECT count(*) FROM task_queue WHERE task_id = '{first['task_id']}'"
        assert count(scene.database_file, task) == 1


async def test_nothing_acknowledged_is_lost_with_a_log_that_was_deleted_although_all_are_killed(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, seed=12, publisher_class=PublisherClass.NONE, workers=1)
    async with playing(scene):
        scene.load.start()
        await scene.load.more(200)
        await scene.sent(50)
        scene.log_of_database.unlink()

        async def is_saved() -> bool:
            processes = (*scene.apis, *scene.workers)
            return all(b"database.log_saved" in process.log.read_bytes() for process in processes)

        await eventually(is_saved, what="a log that is saved by all")
        async with client_of(scene) as client:
            ready = await client.get("/health/ready")
        assert "all that was acknowledged is in the database file" in ready.text
        for process in (*scene.apis, *scene.workers):
            process.kill()
        await scene.start()
        await scene.load.more(50)
        verdict = await scene.finish()
        assert verdict.is_good, verdict
