"""Idempotency-Key: a request with a key is carried out once, and always gets the same answer."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest

from api_support import BATCH, NDJSON, PUBLISH, TASK, assert_problem
from everpost.app import create_app
from everpost.clock import SinceBoot, system_boot_clock, system_clock
from everpost.running_time import LONGEST_STEP_MS, count_step
from everpost.task.place import Place
from everpost.testing import Stack, eventually, everpost_stack
from store_kit import kit_of

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

ITEMS: list[Any] = [TASK, {"platform": "nowhere"}, {**TASK, "schedule_time": "2031-01-01 08:00"}, 7]
ROUTES = pytest.mark.parametrize(("route", "body", "tasks"), [(PUBLISH, TASK, 1), (BATCH, ITEMS, 2)])
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
STEP_MS = LONGEST_STEP_MS


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with everpost_stack(workers=0) as running:
        yield running


async def post(stack: Stack, route: str, body: Any, key: str | None = "k") -> httpx.Response:
    return await stack.client.post(route, json=body, headers={} if key is None else {"idempotency-key": key})


async def run_for(stack: Stack, duration_ms: int) -> None:
    """Have Everpost run for so long; a step of it is a minute or two."""
    now_ms = system_clock()
    for since_ms in range(0, duration_ms + STEP_MS, STEP_MS):
        step = partial(count_step, wall_ms=now_ms + since_ms, since_boot=SinceBoot("boot", since_ms))
        await stack.store.meta.count_time(step)


async def count_tasks(stack: Stack) -> int:
    return kit_of(stack.settings).count(Place.LEDGER)


@ROUTES
async def test_a_repeated_request_is_answered_like_the_first(stack: Stack, route: str, body: Any, tasks: int) -> None:
    plain = await post(stack, route, body, key=None)
    first, second, third = [await post(stack, route, body) for _ in range(3)]
    assert first.status_code == second.status_code == plain.status_code == 202
    assert first.text == second.text == third.text
    assert first.headers["location"] == second.headers["location"]
    assert first.json().keys() == plain.json().keys()
    assert await count_tasks(stack) == 2 * tasks
    listed = (await stack.client.get(first.headers["location"])).json()
    assert listed.get("total", 1) == tasks


@ROUTES
async def test_a_key_is_refused_for_another_body_and_on_another_route(
    stack: Stack, route: str, body: Any, tasks: int
) -> None:
    await post(stack, route, body)
    other = [*body, TASK] if route == BATCH else {**body, "title": "other"}
    assert_problem(await post(stack, route, other), 422, "idempotency_key_reused")
    elsewhere = PUBLISH if route == BATCH else BATCH
    assert_problem(await post(stack, elsewhere, body), 422, "idempotency_key_reused")
    assert await count_tasks(stack) == tasks


@ROUTES
async def test_a_repeated_request_is_answered_also_when_nothing_more_is_accepted(
    stack: Stack, route: str, body: Any, tasks: int
) -> None:
    first = await post(stack, route, body)
    stack.app.state.services.acceptance.room._least_bytes = 1 << 62
    assert_problem(await post(stack, route, body, "new"), 503, "disk_full")
    assert (await post(stack, route, body)).text == first.text
    assert await count_tasks(stack) == tasks


@ROUTES
async def test_an_expired_key_is_free_before_it_is_removed(stack: Stack, route: str, body: Any, tasks: int) -> None:
    first = await post(stack, route, body)
    await run_for(stack, DAY_MS + 1)
    other = [*body, TASK] if route == BATCH else {**body, "title": "other"}
    second = await post(stack, route, other)
    assert (second.status_code, second.text != first.text) == (202, True)
    assert (await post(stack, route, other)).text == second.text
    assert_problem(await post(stack, route, body), 422, "idempotency_key_reused")


async def test_keys_outlast_processes_whose_clocks_are_ahead_and_go_when_they_were_kept_for_long_enough(
    stack: Stack,
) -> None:
    first = await post(stack, PUBLISH, TASK)
    care = stack.store.care
    for ahead_ms in (25 * HOUR_MS, 0, 2_000 * DAY_MS):
        ahead = SinceBoot(system_boot_clock().boot, system_boot_clock().ms + ahead_ms)
        await stack.store.meta.count_time(partial(count_step, wall_ms=system_clock() + ahead_ms, since_boot=ahead))
        assert await care.forget_expired(DAY_MS, None) == 0
        assert (await post(stack, PUBLISH, TASK)).text == first.text
    await run_for(stack, DAY_MS + 1)
    assert await care.forget_expired(DAY_MS, None) == 1
    assert (await post(stack, PUBLISH, TASK)).text != first.text


async def test_a_worker_and_an_api_that_start_a_day_ahead_forget_no_key() -> None:
    def ahead() -> int:
        return system_clock() + 25 * HOUR_MS

    async with everpost_stack(workers=0) as stack:
        first = await post(stack, PUBLISH, TASK)
        worker = await stack.start_worker(clock=ahead)
        app = create_app(stack.settings, clock=ahead)
        async with app.lifespan():
            transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]  # Litestar types its scope more narrowly
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                again = await client.post(PUBLISH, json=TASK, headers={"idempotency-key": "k"})
                await client.post(PUBLISH, json=TASK, headers={"idempotency-key": "another"})
        await stack.drain()
        assert worker.jobs_failed == 0
        assert again.text == first.text
        assert (await post(stack, PUBLISH, TASK)).text == first.text


@ROUTES
async def test_a_request_that_comes_while_the_first_is_served_is_told_to_wait(
    stack: Stack, route: str, body: Any, tasks: int
) -> None:
    in_use = stack.app.state.services.keys_in_use
    with kit_of(stack.settings).locked():
        first = asyncio.create_task(post(stack, route, body))

        async def is_served() -> bool:
            return bool(in_use._fingerprints)

        await eventually(is_served, what="the first request")
        assert_problem(await post(stack, route, body), 409, "idempotency_key_in_use")
        other = [TASK] if route == BATCH else {**body, "title": "other"}
        assert_problem(await post(stack, route, other), 422, "idempotency_key_reused")
    assert (await first).status_code == 202
    assert (await post(stack, route, body)).text == (await first).text
    assert await count_tasks(stack) == tasks
    assert not in_use._fingerprints


@pytest.mark.parametrize(("route", "body"), [(PUBLISH, {"platform": 1}), (BATCH, [7, {}])])
async def test_the_key_of_a_request_of_which_nothing_was_accepted_is_free_again(
    stack: Stack, route: str, body: Any
) -> None:
    answers = [await post(stack, route, body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert (await post(stack, route, [TASK] if route == BATCH else TASK)).status_code == 202


async def test_a_stream_with_a_key_is_refused_before_it_is_read(stack: Stack) -> None:
    headers = {**NDJSON, "idempotency-key": "k"}
    answer = await stack.client.post(BATCH, content=b'{"platform": 1, "account_id": "a"}\n', headers=headers)
    assert_problem(answer, 400, "bad_input")
    assert await count_tasks(stack) == 0


@pytest.mark.parametrize("route", [PUBLISH, BATCH])
async def test_a_key_with_wrong_quotes_is_refused(stack: Stack, route: str) -> None:
    for key in ('"', '""', '"a', 'a" b', '"a"b', '"a";b=1', r'"\a"', '"\t"', f'"{"k" * 256}"'):
        assert_problem(await post(stack, route, [TASK] if route == BATCH else TASK, key), 400, "bad_input")


async def test_two_keys_at_once_are_refused(stack: Stack) -> None:
    headers = [("idempotency-key", "a"), ("idempotency-key", "b")]
    assert_problem(await stack.client.post(PUBLISH, json=TASK, headers=headers), 400, "bad_input")


async def test_a_key_means_the_same_with_and_without_quotes(stack: Stack) -> None:
    answers = [await post(stack, PUBLISH, TASK, key) for key in ('a\\"b', r'"a\\\"b"')]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.text for answer in answers}) == 1
    assert (await post(stack, PUBLISH, TASK, '"two words"')).status_code == 202
    assert await count_tasks(stack) == 2
