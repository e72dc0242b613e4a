"""An API dies while many tasks are changed: each change of one task is in the audit once, and nothing else is."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from chaos_kit.load import HANG_S
from chaos_kit.scene import Scene, playing
from everpost.clock import system_clock, to_text
from everpost.publishing import PublisherClass
from everpost.task.place import Place
from store_kit import StoredTask

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("both_stores")]

TASKS = 150
ANSWERED = 20  # requests, when the API dies
TITLE = "edited"

CHANGES: Mapping[str, tuple[str, str, Callable[[StoredTask], str | None]]] = {
    "retry": ("POST", "/retry/{}", lambda task: task.retry_of),
    "remove": ("DELETE", "/{}", lambda task: task.task_id if task.place is Place.ARCHIVE else None),
    "cancel": ("POST", "/cancel/{}", lambda task: task.task_id if task.status == "cancelled" else None),
    "edit": ("PATCH", "/{}", lambda task: task.task_id if task.data["title"] == TITLE else None),
}
"""Method, path, and the id of the task that a row shows to be changed."""


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_whose_api_dies_is_made_and_in_the_audit_or_neither(tmp_path: Path, change: str) -> None:
    method, path, changed_id = CHANGES[change]
    scene = Scene(tmp_path, seed=31, publisher_class=PublisherClass.NONE, workers=1, delay_ms=1)
    async with playing(scene), httpx.AsyncClient(timeout=HANG_S) as client:
        (api,) = scene.apis

        async def ask(method: str, path: str, **options: Any) -> httpx.Response:
            return await client.request(method, f"{api.address}/api/v1{path}", **options)

        scene.close_platform()
        is_ended = change in {"retry", "remove"}
        fields: dict[str, Any] = {} if is_ended else {"schedule_time": to_text(system_clock() + 3_600_000)}
        task_ids = [str(await scene.load.post(client, scene.chance, **fields)) for _ in range(TASKS)]
        if is_ended:
            for task_id in task_ids:
                assert (await ask("GET", f"/tasks/{task_id}?wait=8")).json()["data"]["status"] == "failed"
        body = {"json": {"title": TITLE}} if change == "edit" else {}
        calls = [asyncio.create_task(ask(method, "/tasks" + path.format(task_id), **body)) for task_id in task_ids]
        for answer in islice(asyncio.as_completed(calls), ANSWERED):
            assert (await answer).status_code == httpx.codes.OK
        api.kill()
        await asyncio.wait(calls)
        assert sum(call.exception() is None for call in calls) < TASKS
        await api.start()
        export = await ask("GET", "/audit/export")
        told = Counter(msgspec.json.decode(line)["target"] for line in export.text.splitlines())
        changed = {found for task in scene.kit.tasks() if (found := changed_id(task)) is not None}
        assert len(changed) >= ANSWERED
        assert told == dict.fromkeys(changed, 1)
