"""Exports over HTTP and by the command: whole, in order, resumable, and cut off when they are not whole."""

import asyncio
import csv
import io
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api_support import TASK, Api, assert_problem, running_valkey, serving
from cli_support import command, environment
from everpost.errors import Unavailable
from everpost.publishing import InvalidError
from everpost.store.history import TaskFilter
from everpost.testing import Stack
from everpost.views import exported_tasks

EXPORT = "/api/v1/tasks/export"
HOSTILE = ['=HYPERLINK("http://x")', "+1", "@x", 'a "quoted",\r\n line', "\u202etxt", "测试"]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_valkey(tmp_path) as valkey, serving(tmp_path, valkey) as served:
        yield served


async def export(api: Api, **parameters: Any) -> list[dict[str, Any]]:
    answer = await api.client.get(EXPORT, params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def records(api: Api, **parameters: Any) -> tuple[str, list[list[str]]]:
    answer = await api.client.get(EXPORT, params={"format": "csv", **parameters})
    assert answer.status_code == 200, answer.text
    text = answer.content.decode("utf-8-sig")
    return answer.headers["content-type"], list(csv.reader(io.StringIO(text, newline="")))


async def publish_many(api: Api, count: int, **fields: Any) -> list[str]:
    lines = "\n".join(json.dumps({**TASK, "title": f"title {number}", **fields}) for number in range(count))
    headers = {"content-type": "application/x-ndjson"}
    answer = await api.client.post("/api/v1/publish/batch", content=lines, headers=headers)
    return [json.loads(line)["task_id"] for line in answer.text.splitlines()[:-1]]


async def test_every_task_is_exported_once_newest_first(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported_tasks, "STEP", 7)
    task_ids = await publish_many(api, 50)
    rows = await export(api)
    assert [row["task_id"] for row in rows] == sorted(task_ids, reverse=True)
    listed = (await api.client.get("/api/v1/tasks")).json()["data"]
    shown = [{name: row[name] for name in row.keys() - {"task_data", "task_data_text", "cursor"}} for row in rows]
    assert shown == [{name: row[name] for name in row.keys() - {"waits_for"}} for row in listed]
    assert {row["task_data"]["title"] for row in rows} == {f"title {number}" for number in range(50)}


async def test_a_filter_counts_and_data_can_be_left_out(api: Api) -> None:
    await publish_many(api, 3)
    wanted = await publish_many(api, 2, account_id="another")
    rows = await export(api, account_id="another", with_data="false")
    assert sorted(row["task_id"] for row in rows) == sorted(wanted)
    assert all(row["task_data"] is None for row in rows)
    assert await export(api, status="failed") == []
    assert_problem(await api.client.get(EXPORT, params={"platform": "nowhere"}), 422, "unknown_platform")
    assert_problem(await api.client.get(EXPORT, params={"cursor": "?"}), 422, "invalid_value", "?cursor")
    assert_problem(await api.client.get(EXPORT, params={"format": "xml"}), 422, "invalid_value", "?format")


async def test_a_cursor_goes_on_behind_any_row_also_after_the_task_moved(everpost: Stack) -> None:
    everpost.publisher.hold()
    for number in range(6):
        await everpost.publish(title=str(number))
    lines = (await everpost.client.get(EXPORT)).text.splitlines()
    rows = [json.loads(line) for line in lines]
    everpost.publisher.release()
    await everpost.drain()
    await everpost.publish(title="later")
    rest = (await everpost.client.get(EXPORT, params={"cursor": rows[2]["cursor"]})).text.splitlines()
    assert [json.loads(line)["task_id"] for line in rest] == [row["task_id"] for row in rows[3:]]


async def test_csv_has_a_head_and_no_cell_that_is_a_formula(api: Api) -> None:
    for title in HOSTILE:
        await api.publish(title=title, account_id=title[:5])
    content_type, (head, *rows) = await records(api)
    assert content_type == "text/csv; charset=utf-8; header=present"
    titles = [row[head.index("title")] for row in rows]
    assert titles == [f"'{title}" if title[0] in "=+@" else title for title in reversed(HOSTILE)]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    assert json.loads(rows[0][head.index("task_data")])["title"] == HOSTILE[-1]
    content_type, rest = await records(api, cursor=rows[1][head.index("cursor")])
    assert (content_type, rest) == ("text/csv; charset=utf-8; header=absent", rows[2:])


async def test_hidden_members_are_not_exported(api: Api) -> None:
    await api.publish(access_token="raw-secret-value")
    for format_ in ("ndjson", "csv"):
        answer = await api.client.get(EXPORT, params={"format": format_})
        assert "***" in answer.text
        assert "raw-secret-value" not in answer.text


async def test_large_data_goes_in_small_steps(api: Api) -> None:
    for _ in range(4):
        await api.publish(description="x" * 900_000)
    small = await api.publish()
    services = api._server.app.state.services
    sizes = [len(step) async for step in services.export.steps(TaskFilter())]
    assert sum(sizes) == 5
    assert max(sizes) <= 3
    assert (await export(api))[0]["task_id"] == small


async def test_an_error_during_an_export_cuts_the_answer_off(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported_tasks, "STEP", 2)
    await publish_many(api, 6)
    history = api._server.app.state.services.store.history
    real, steps = history.step, 0

    async def failing(*given: Any, **named: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 2:
            raise Unavailable("the database went away")
        return await real(*given, **named)

    monkeypatch.setattr(history, "step", failing)
    with pytest.raises(httpx.RemoteProtocolError):
        async with api.client.stream("GET", EXPORT) as answer:
            _ = [line async for line in answer.aiter_lines()]


async def test_too_many_exports_at_once_are_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everpost.api.export_slots.MOST", 0)
    assert_problem(await api.client.get(EXPORT), 503, "unavailable")


async def test_head_of_an_export_has_no_body(api: Api) -> None:
    await api.publish()
    answer = await api.client.head(EXPORT)
    assert (answer.status_code, answer.content) == (200, b"")


async def call(arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    def run() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command(*arguments), env=environment(), capture_output=True, text=True, check=False)

    return await asyncio.to_thread(run)


class TestTheCommand:
    async def test_writes_a_file_and_goes_on_with_one_that_was_cut_off(self, api: Api, tmp_path: Path) -> None:
        await publish_many(api, 20)
        for format_ in ("ndjson", "csv"):
            file = tmp_path / f"all.{format_}"
            arguments = ["export", "--url", api.address, "--format", format_, "--output", str(file)]
            assert (await call(arguments)).returncode == 0
            whole = file.read_bytes()
            file.write_bytes(whole[: len(whole) // 2])
            again = await call(arguments)
            assert (again.returncode, "File exists" in again.stderr) == (1, True)
            assert (await call([*arguments, "--resume"])).returncode == 0
            assert file.read_bytes() == whole


@pytest.mark.usefixtures("both_stores_in_chaos")
async def test_while_tasks_end_fail_and_are_retried_each_one_is_exported_once(
    everpost: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported_tasks, "STEP", 10)
    everpost.publisher.fail_when(lambda job: InvalidError("odd") if job.data["number"] % 2 else None)
    everpost.publisher.hold()
    before = [await everpost.publish(number=number) for number in range(60)]
    services = everpost.app.state.services
    seen: list[str] = []
    async for step in services.export.steps(TaskFilter()):
        seen += [task.task_id for task in step]
        if len(seen) == 10:
            everpost.publisher.release()
        await everpost.publish(number=0)
        await everpost.wait_until_ended(before[-len(seen)])
        if (task := await everpost.task(before[0]))["status"] == "failed":
            await everpost.retry(task["task_id"])
    assert seen == sorted(before, reverse=True)  # two tasks may be of one millisecond
