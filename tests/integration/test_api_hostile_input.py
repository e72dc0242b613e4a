"""Invalid requests: each is refused with a reason, and leaves nothing behind."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from api_support import BATCH, JSON, NDJSON, PUBLISH, TASK, Api, assert_problem, running_valkey, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEGABYTE = 1_048_576


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    async with running_valkey(folder) as valkey, serving(folder, valkey) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def api(served: Api) -> AsyncIterator[Api]:
    yield served
    await served.assert_nothing_left()


def task_with(**fields: Any) -> bytes:
    return json.dumps({**TASK, **fields}).encode()


NO_JSON = {
    "an empty body": b"",
    "half an object": b'{"platform": 1, "account_id": "a"',
    "a bare word": b"publish",
    "a trailing comma": b'{"platform": 1, "account_id": "a",}',
    "single quotes": b"{'platform': 1}",
    "two values": b"{} {}",
    "NaN": b'{"platform": 1, "account_id": "a", "x": NaN}',
    "a byte order mark": b"\xef\xbb\xbf" + task_with(),
    "UTF-16": task_with().decode().encode("utf-16"),
    "latin-1": '{"platform": 1, "account_id": "é"}'.encode("latin-1"),
    "a lone surrogate": b'{"platform": 1, "account_id": "\\ud800"}',
    "a lone low surrogate in a key": b'{"platform": 1, "account_id": "a", "\\udc00": 1}',
    "a raw control character": b'{"platform": 1, "account_id": "\x01"}',
    "NUL bytes": b"\0\0\0\0",
    "arrays 100,000 deep": b'{"platform": 1, "account_id": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "objects 65 deep": b'{"a":' * 65 + b"1" + b"}" * 65,
    "an unclosed array 100,000 deep": b"[" * 100_000,
}


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
async def test_a_body_that_is_not_json_is_malformed(api: Api, body: bytes) -> None:
    answer = await api.client.post(PUBLISH, content=body, headers=JSON)
    assert_problem(answer, 400, "malformed_json")


WRONG_VALUES = {
    "a list": (b"[]", "$"),
    "a number": (b"7", "$"),
    "null": (b"null", "$"),
    "an empty object": (b"{}", "$"),
    "no account": (b'{"platform": 1}', "$"),
    "an account that is a number": (task_with(account_id=7), "$.account_id"),
    "an empty account": (task_with(account_id=""), "$.account_id"),
    "an account of 257 characters": (task_with(account_id="a" * 257), "$.account_id"),
    "a platform that is a list": (task_with(platform=[1]), "$.platform"),
    "a platform that is true": (task_with(platform=True), "$.platform"),
    "a platform that is null": (task_with(platform=None), "$.platform"),
    "a platform that is 1.5": (task_with(platform=1.5), "$.platform"),
    "a title that is a number": (task_with(title=1), "$.title"),
    "a title of 10,001 characters": (task_with(title="t" * 10_001), "$.title"),
    "tags that are a text": (task_with(tags="a,b"), "$.tags"),
    "a tag that is a number": (task_with(tags=["a", 1]), "$.tags[1]"),
    "1,001 tags": (task_with(tags=["t"] * 1_001), "$.tags"),
    "priority -1": (task_with(priority=-1), "$.priority"),
    "priority 10": (task_with(priority=10), "$.priority"),
    "priority true": (task_with(priority=True), "$.priority"),
    'priority "5"': (task_with(priority="5"), "$.priority"),
    "priority 5.0": (task_with(priority=5.0), "$.priority"),
    "priority 5.5": (task_with(priority=5.5), "$.priority"),
    "priority 10**30": (task_with(priority=10**30), "$.priority"),
    "priority null": (task_with(priority=None), "$.priority"),
    "a malformed time": (task_with(schedule_time="tomorrow"), "$.schedule_time"),
    "an empty time": (task_with(schedule_time=""), "$.schedule_time"),
    "the 30th of February": (task_with(schedule_time="2026-02-30T12:00:00Z"), "$.schedule_time"),
    "the year 1": (task_with(schedule_time="0001-01-01T00:00:00+14:00"), "$.schedule_time"),
    "the year 9999": (task_with(schedule_time="9999-12-31T23:59:59-14:00"), "$.schedule_time"),
    "the year 1970": (task_with(schedule_time="1970-01-01"), "$.schedule_time"),
    "a time that is a number": (task_with(schedule_time=1_767_225_600), "$.schedule_time"),
    "NUL in the title": (task_with(title="a\0b"), "$.title"),
    "NUL in a tag": (task_with(tags=["ok", "\0"]), "$.tags[1]"),
    "NUL deep inside": (task_with(extra={"list": [1, {"x": "\0"}]}), "$.extra.list[1].x"),
    "NUL in a key": (task_with(**{"a\0b": 1}), "$"),
    "a number no float can hold": (b'{"platform": 1, "account_id": "a", "x": 1e999}', "$"),
}


@pytest.mark.parametrize(("body", "path"), WRONG_VALUES.values(), ids=WRONG_VALUES)
async def test_a_wrong_value_is_named_by_its_path(api: Api, body: bytes, path: str) -> None:
    answer = await api.client.post(PUBLISH, content=body, headers=JSON)
    assert_problem(answer, 422, "invalid_value", path)


async def test_no_value_of_a_parameter_crashes_a_route(api: Api) -> None:
    document = (await api.client.get("/schema/openapi.json")).json()
    named = [
        (path, parameter["name"])
        for path, methods in document["paths"].items()
        for parameter in methods.get("get", {}).get("parameters", ())
        if parameter["in"] == "query" and "/events" not in path
    ]
    assert len(named) > 50
    for path, name in named:
        place = "/".join("none" if part.startswith("{") else part for part in path.split("/"))
        for value in ("9" * 400, "\0"):
            answer = await api.client.get(place, params={name: value})
            assert answer.status_code not in {500, 503}, (path, name, value)


@pytest.mark.parametrize("platform", [0, -1, 999, 10**30, "", "nowhere", "1 ", "x" * 5_000, "../etc"])
async def test_an_unknown_platform_is_refused_with_the_known_ones(api: Api, platform: object) -> None:
    answer = await api.client.post(PUBLISH, content=task_with(platform=platform), headers=JSON)
    problem = assert_problem(answer, 422, "unknown_platform", "$.platform")
    assert "douyin" in problem["detail"]
    assert len(answer.content) < 1_000


@pytest.mark.parametrize("route", [PUBLISH, BATCH])
async def test_a_body_of_five_megabytes_is_too_large(api: Api, route: str) -> None:
    answer = await api.client.post(route, content=b" " * 5 * MEGABYTE, headers=JSON)
    assert_problem(answer, 413, "body_too_large")


@pytest.mark.parametrize("route", [PUBLISH, BATCH])
async def test_a_body_of_five_megabytes_in_chunks_is_too_large(api: Api, route: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b" " * 65_536

    answer = await api.client.post(route, content=chunks(), headers=JSON)
    assert_problem(answer, 413, "body_too_large")


async def test_a_body_as_large_as_allowed_is_read_to_its_end(api: Api) -> None:
    answer = await api.client.post(PUBLISH, content=b" " * MEGABYTE, headers=JSON)
    assert_problem(answer, 400, "malformed_json")


async def test_a_title_of_one_megabyte_is_refused(api: Api) -> None:
    answer = await api.client.post(PUBLISH, content=task_with(title="x" * (MEGABYTE - 200)), headers=JSON)
    assert_problem(answer, 422, "invalid_value", "$.title")


async def test_an_array_of_a_million_elements_is_too_large(api: Api) -> None:
    answer = await api.client.post(BATCH, content=b"[" + b"1," * 999_999 + b"1]", headers=JSON)
    assert_problem(answer, 413, "body_too_large")


async def test_an_array_of_half_a_million_elements_has_too_many(api: Api) -> None:
    answer = await api.client.post(BATCH, content=b"[" + b"1," * 499_999 + b"1]", headers=JSON)
    assert_problem(answer, 422, "invalid_value", "$")


CONTENT_TYPES = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "json",
    "application/",
    "",
    "application/json; charset=utf-16",
    "application/jsonp",
    "text/json",
]


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
@pytest.mark.parametrize("route", [PUBLISH, BATCH])
async def test_another_content_type_is_unsupported(api: Api, route: str, content_type: str) -> None:
    answer = await api.client.post(route, content=task_with(), headers={"content-type": content_type})
    assert_problem(answer, 415, "unsupported_media_type")


async def test_no_content_type_is_unsupported(api: Api) -> None:
    answer = await api.client.post(PUBLISH, content=task_with())
    assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("key", [b"", b"a b", b"\xe9", b"k" * 256])
async def test_an_invalid_key_is_refused(api: Api, key: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"idempotency-key", key)]
    assert_problem(await api.client.post(PUBLISH, content=task_with(), headers=headers), 400, "bad_input")


NO_IDS = [
    "nope",
    "%00",
    "%2e%2e",
    "%2e%2e%2f%2e%2e",
    "a" * 129,
    "a" * 5_000,
    "%0a",
    "%ff%fe",
    "'%20OR%201=1--",
    "%F0%9F%92%A9",
    "%25s",
    "-1",
]


@pytest.mark.parametrize("task_id", NO_IDS)
async def test_an_impossible_id_is_not_found(api: Api, task_id: str) -> None:
    for method, route in (("GET", ""), ("GET", "status/"), ("POST", "retry/")):
        answer = await api.client.request(method, f"/api/v1/tasks/{route}{task_id}")
        assert answer.status_code == 404, answer.text
        assert answer.json()["code"] in {"task_not_found", "route_not_found"}
        assert len(answer.content) < 12_000


QUERIES = {
    "limit=1000000000": "?limit",
    "limit=0": "?limit",
    "limit=-1": "?limit",
    "limit=ten": "?limit",
    "limit=": "?limit",
    "limit=99999999999999999999999999": "?limit",
    "limit=1&limit=2": "?limit",
    "cursor=nope": "?cursor",
    "cursor=": "?cursor",
    "cursor=%00": "?cursor",
    "cursor=" + "A" * 2_001: "?cursor",
    "cursor=WyJ-Il0": "?cursor",
    "cursor=WzkyMjMzNzIwMzY4NTQ3NzU4MDgsIngiXQ": "?cursor",  # an integer that SQLite has no room for
    "status=done": "?status",
    "status=": "?status",
    "error_class=bad": "?error_class",
    "created_after=yesterday": "?created_after",
    "created_before=2026-13-01": "?created_before",
    "account_id=" + "a" * 257: "?account_id",
    "q=" + "a" * 257: "?q",
    "page=2": "?page",
    "Status=failed": "?Status",
    "%00=1": "?\0",
}


@pytest.mark.parametrize(("query", "path"), QUERIES.items())
async def test_a_wrong_parameter_of_a_list_is_named(api: Api, query: str, path: str) -> None:
    assert_problem(await api.client.get(f"/api/v1/tasks?{query}"), 422, "invalid_value", path)


@pytest.mark.parametrize("wait", ["61", "-1", "nan", "inf", "soon"])
async def test_an_invalid_wait_is_refused(api: Api, wait: str) -> None:
    assert_problem(await api.client.get(f"/api/v1/tasks/x?wait={wait}"), 422, "invalid_value", "?wait")


@pytest.mark.parametrize("force", ["maybe", "2", ""])
async def test_a_force_that_is_neither_true_nor_false_is_refused(api: Api, force: str) -> None:
    answer = await api.client.post(f"/api/v1/tasks/retry/x?force={force}")
    assert_problem(answer, 422, "invalid_value", "?force")


async def test_an_unknown_route_is_a_problem(api: Api) -> None:
    for route in ("/nope", "/api/v2/publish", "/api/v1/publish/batch/x", "/..", "/api/v1/%2e%2e"):
        assert (await api.client.get(route)).json()["success"] is False
    assert_problem(await api.client.get("/nope"), 404, "route_not_found")


async def test_a_wrong_method_is_told_the_right_ones(api: Api) -> None:
    answer = await api.client.put(PUBLISH, content=task_with(), headers=JSON)
    assert_problem(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]


async def test_a_get_cancels_nothing(api: Api) -> None:
    assert (await api.client.get("/api/v1/tasks/x/cancel")).status_code in {404, 405}


BAD_BATCHES: dict[str, tuple[bytes, str]] = {
    "an empty list": (b"[]", "$"),
    "no list": (b"{}", "$.tasks"),
    "a text": (b'"x"', "$"),
    "another field": (b'{"tasks": [], "dry": true}', "$"),
    "1,001 items": (json.dumps([1] * 1_001).encode(), "$"),
}


@pytest.mark.parametrize(("body", "path"), BAD_BATCHES.values(), ids=BAD_BATCHES)
async def test_an_invalid_batch_is_refused(api: Api, body: bytes, path: str) -> None:
    assert_problem(await api.client.post(BATCH, content=body, headers=JSON), 422, "invalid_value", path)


async def test_a_batch_without_a_valid_item_is_refused_item_by_item(api: Api) -> None:
    answer = await api.client.post(BATCH, json={"tasks": [3, {**TASK, "tags": [0]}, {**TASK, "platform": "no"}]})
    assert answer.status_code == 422
    found = answer.json()
    assert (found["success"], found["accepted"], found["rejected"]) == (False, 0, 3)
    assert [item["path"] for item in found["results"]] == ["$.tasks[0]", "$.tasks[1].tags[0]", "$.tasks[2].platform"]
    assert [item["code"] for item in found["results"]] == ["invalid_value", "invalid_value", "unknown_platform"]


async def test_a_stream_of_nonsense_is_answered_line_by_line(api: Api) -> None:
    lines = [b"{", b"\xff", b"[]", b"", b"  ", b"x" * (MEGABYTE + 1), b'{"platform": 1}']
    answer = await api.client.post(BATCH, content=b"\n".join(lines), headers=NDJSON)
    *results, end = map(json.loads, answer.text.splitlines())
    codes = ["malformed_json", "malformed_json", "invalid_value", "body_too_large", "invalid_value"]
    assert [result["code"] for result in results] == codes
    assert [result["index"] for result in results] == [0, 1, 2, 3, 4]
    assert (end["accepted"], end["rejected"], end["done"]) == (0, 5, True)


async def test_an_empty_stream_is_refused(api: Api) -> None:
    answer = await api.client.post(BATCH, content=b"\n\n", headers=NDJSON)
    assert_problem(answer, 422, "invalid_value")


async def send_raw(api: Api, data: bytes) -> bytes:
    """Send bytes, hang up one's own side, and read until the server hangs up too."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(data)
    writer.write_eof()
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


async def test_a_body_that_is_cut_off_makes_no_task(api: Api) -> None:
    body = task_with()
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    await send_raw(api, head % (PUBLISH.encode(), len(body) + 1) + body)


async def test_a_stream_cut_off_in_a_line_leaves_that_line_out(api: Api) -> None:
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 500\r\n\r\n"
    await send_raw(api, head % BATCH.encode() + task_with())


@pytest.mark.parametrize("length", [b"-1", b"abc", b"1, 2", b"99999999999999999999999"])
async def test_an_invalid_length_is_refused(api: Api, length: bytes) -> None:
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n{}"
    answer = await send_raw(api, head % (PUBLISH.encode(), length))
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413")), answer


POST_HEAD = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" % PUBLISH.encode()
ENDLESS = {
    "a path": (b"POST /", b"a"),
    "a header's name": (POST_HEAD, b"a"),
    "a header": (POST_HEAD + b"x: ", b"a"),
    "headers": (POST_HEAD, b"a: b\r\n"),
    "headers behind the body": (POST_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n", b"a: b\r\n"),
    "a word about a chunk": (POST_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a"),
    "what follows an upgrade": (b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", b"a"),
}


async def send_much(writer: asyncio.StreamWriter, more: bytes) -> None:
    for _ in range(32):
        writer.write(more * (MEGABYTE // len(more)))
        await asyncio.wait_for(writer.drain(), 10)


@pytest.mark.parametrize(("start", "more"), ENDLESS.values(), ids=ENDLESS)
async def test_a_client_that_never_ends_a_head_is_cut_off(api: Api, start: bytes, more: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(start)
    with pytest.raises(ConnectionError):
        await send_much(writer, more)
    writer.close()


async def test_a_long_head_and_a_large_body_in_one_piece_are_served(api: Api) -> None:
    lines = b"".join(b"x-%d: %s\r\n" % (number, b"a" * 1_000) for number in range(60))
    body = b"[" + b" " * (MEGABYTE // 2) + b"]"
    answer = await send_raw(api, POST_HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert answer.startswith(b"HTTP/1.1 422"), answer


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
OFFERED_BODIES = {
    "a body": b"Content-Length: 2\r\n\r\n[]",
    "a chunked body": b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n1\r\n]\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("body", OFFERED_BODIES.values(), ids=OFFERED_BODIES)
@pytest.mark.parametrize("is_in_pieces", [False, True])
async def test_an_offer_of_another_protocol_is_passed_over(api: Api, body: bytes, is_in_pieces: bool) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    get = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n" + OFFER + b"\r\n"
    whole = (
        get + POST_HEAD + OFFER + body + b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    for piece in (bytes([byte]) for byte in whole) if is_in_pieces else [whole]:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        answers = (await reader.read()).split(b"HTTP/1.1 ")[1:]
    writer.close()
    assert [answer[:3] for answer in answers] == [b"200", b"422", b"200"]


async def test_any_number_of_offers_in_one_piece_is_passed_over(api: Api) -> None:
    number = 2_000
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" * number)
    async with asyncio.timeout(10):
        for _ in range(number):
            assert (await reader.readuntil(b'{"status":"live"}')).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_request_for_a_tunnel_is_refused(api: Api) -> None:
    assert (await send_raw(api, b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n")).startswith(b"HTTP/1.1 400")


async def test_the_api_still_serves_after_all_that(served: Api) -> None:
    answer: httpx.Response = await served.client.get("/health/live")
    assert answer.json() == {"status": "live"}
