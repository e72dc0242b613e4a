"""POST /publish/batch: lists in one transaction, streams of any size in little memory, every item answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from api_support import BATCH, JSON, NDJSON, TASK, Api, assert_problem, running_valkey, serving

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

LINE = json.dumps(TASK).encode() + b"\n"
HEAD = b"POST /api/v1/publish/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_valkey(tmp_path) as valkey, serving(tmp_path, valkey) as served:
        yield served


def chunk_of(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def read_line(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next line of JSON in an answer, whatever chunks it came in."""
    async with asyncio.timeout(10):
        while not (line := await reader.readline()).startswith(b"{"):
            assert line, "the server hung up"
    found: dict[str, Any] = json.loads(line)
    return found


async def test_every_valid_item_of_a_list_is_accepted(api: Api) -> None:
    answer = await api.client.post(BATCH, json=[TASK, {"platform": 1}, {**TASK, "priority": 0}])
    assert answer.status_code == 202
    found = answer.json()
    assert (found["success"], found["accepted"], found["rejected"]) == (False, 2, 1)
    assert [item["success"] for item in found["results"]] == [True, False, True]
    assert found["results"][1]["path"] == "$[1]"
    listed = (await api.client.get(answer.headers["location"])).json()
    assert {task["task_id"] for task in listed["data"]} == {found["results"][n]["task_id"] for n in (0, 2)}
    assert {task["batch_id"] for task in listed["data"]} == {found["batch_id"]}
    assert await api.count_keys() == 4  # two jobs in two queues


async def test_a_list_may_stand_in_an_object(api: Api) -> None:
    answer = await api.client.post(BATCH, json={"tasks": [TASK] * 1_000})
    assert (answer.status_code, answer.json()["message"]) == (202, "1000 of 1000 tasks accepted")
    assert await api.count_tasks() == 1_000


async def test_a_stream_is_answered_line_by_line(api: Api) -> None:
    body = LINE + b"\n" + b"nonsense\n" + b'{"platform": "no", "account_id": "a"}\r\n' + LINE.strip()
    answer = await api.client.post(BATCH, content=body, headers=NDJSON)
    *results, end = map(json.loads, answer.text.splitlines())
    assert answer.status_code == 202
    assert [(result["index"], result.get("code")) for result in results] == [
        (0, None),
        (1, "malformed_json"),
        (2, "unknown_platform"),
        (3, None),
    ]
    assert end == {"batch_id": end["batch_id"], "accepted": 2, "rejected": 2, "done": True}
    assert await api.count_tasks() == 2


async def test_a_line_is_answered_before_the_next_is_sent(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(CHUNKED)
    for index in range(5):
        writer.write(chunk_of(LINE))
        answer = await read_line(reader)
        assert (answer["index"], answer["success"]) == (index, True)
        assert await api.count_tasks() == index + 1
    writer.write(b"0\r\n\r\n")
    assert (await read_line(reader))["accepted"] == 5
    writer.close()


@pytest.mark.chaos
async def test_a_client_that_reads_nothing_until_it_has_sent_all_gets_every_answer(api: Api) -> None:
    count = 60_000
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, limit=2**16)
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # the transport of a socket can read
    writer.write(CHUNKED)
    for _ in range(count // 1_000):
        writer.write(chunk_of(LINE * 1_000))
        async with asyncio.timeout(30):
            await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
    text = b""
    async with asyncio.timeout(60):
        while b'"done":true' not in text[-200:]:
            text += await reader.read(2**20)
    assert text.count(b'"success":true') >= count - count // 400  # some are cut in two by the framing of chunks
    assert b'"accepted":%d' % count in text[-300:]
    assert await api.count_tasks() == count
    writer.close()


async def test_tasks_accepted_before_the_client_hung_up_stay(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(CHUNKED + chunk_of(LINE))
    assert (await read_line(reader))["success"]
    writer.write(chunk_of(LINE[:20]))
    await writer.drain()
    writer.close()
    answer = await api.client.get("/health/live")
    assert answer.status_code == 200
    assert await api.count_tasks() == 1


async def test_a_stream_is_told_where_the_backlog_is_full(tmp_path: Path) -> None:
    async with running_valkey(tmp_path) as valkey, serving(tmp_path, valkey, max_backlog=2) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(CHUNKED)
        codes = []
        for _ in range(3):
            writer.write(chunk_of(LINE))
            codes.append((await read_line(reader)).get("code"))
        assert codes == [None, None, "backlog_full"]
        writer.close()
        assert_problem(await api.client.post(BATCH, content=LINE, headers=NDJSON), 503, "backlog_full")
        assert_problem(await api.client.post(BATCH, content=b"[" + LINE + b"]", headers=JSON), 503, "backlog_full")
