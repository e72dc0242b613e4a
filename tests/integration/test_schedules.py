"""Times in zones, tasks that are too late, batches that are spread, and recurring posts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from api_support import assert_problem
from everpost.clock import from_text, system_clock, to_text
from everpost.errors import InvalidValue
from everpost.publishing import PublisherClass, RateLimitedError
from everpost.task.place import Place
from everpost.task.recurrence import AHEAD_MS, Recurrence
from everpost.testing import PublisherDouble, Stack, eventually, everpost_stack
from everpost_workers.upkeep.recurring import RecurringPosts
from store_kit import kit_of

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

LATER = "2030-05-04T18:00:00+02:00"
TASK = {"platform": 1, "account_id": "a", "title": "digest"}


@pytest.fixture
async def idle() -> AsyncIterator[Stack]:
    """Everything but a worker, in Berlin."""
    async with everpost_stack(workers=0, timezone="Europe/Berlin") as stack:
        yield stack


async def test_times_of_clocks_that_are_put_forward_or_back_are_answered_clearly(idle: Stack) -> None:
    post = {**TASK, "schedule_time": "2030-03-31 02:30"}
    problem = assert_problem(
        await idle.client.post("/api/v1/publish", json=post), 422, "skipped_time", "$.schedule_time"
    )
    assert problem["neighbours"] == ["2030-03-31T01:59:00+01:00", "2030-03-31T03:00:00+02:00"]
    twice = {**TASK, "schedule_time": "2030-10-27 02:30"}
    first = (await idle.client.post("/api/v1/publish", json=twice)).json()
    second = (await idle.client.post("/api/v1/publish", json={**twice, "schedule_fold": 1})).json()
    assert "comes twice" in first["warning"]
    assert "warning" not in second
    due = [(await idle.task(answer["task_id"]))["due_at"] for answer in (first, second)]
    assert due == ["2030-10-27T00:30:00.000Z", "2030-10-27T01:30:00.000Z"]
    batch = (await idle.client.post("/api/v1/publish/batch", json=[post, twice])).json()
    assert [result.get("code") for result in batch["results"]] == ["skipped_time", None]
    assert (batch["results"][0]["path"], "warning" in batch["results"][1]) == ("$[0].schedule_time", True)


async def test_a_time_is_read_in_the_zone_of_its_account(idle: Stack) -> None:
    asked: list[tuple[str, str]] = []

    async def find(platform: str, account_id: str) -> str | None:
        asked.append((platform, account_id))
        return {"tokyo": "Asia/Tokyo", "odd": "Mars/Base"}.get(account_id)

    services = idle.app.state.services
    services.zones._find = find
    naive = {"schedule_time": "2030-05-04 18:00"}
    tokyo, berlin = [await idle.publish(account_id=name, **naive) for name in ("tokyo", "berlin")]
    assert [(await idle.task(one))["due_at"] for one in (tokyo, berlin)] == [
        "2030-05-04T09:00:00.000Z", "2030-05-04T16:00:00.000Z",
    ]  # fmt: skip
    await idle.publish(account_id="tokyo")
    assert asked == [("xiaohongshu", "tokyo"), ("xiaohongshu", "berlin")]  # no look-up without a time
    with pytest.raises(InvalidValue):
        await services.zones.of_data({**TASK, "account_id": "odd", **naive})
    tasks = [{**TASK, "account_id": "tokyo", **naive}] * 3
    await idle.client.post("/api/v1/publish/batch", json=tasks)
    assert len(asked) == 4  # each account once
    retried = await idle.retry(tokyo)
    assert (await idle.task(retried))["due_at"] == "2030-05-04T09:00:00.000Z"


async def test_a_task_that_could_not_begin_in_time_is_missed_and_not_sent(idle: Stack) -> None:
    task_id = await idle.publish(late_after_s=600)
    unhurried = await idle.publish(late_after_s=3_600)
    scheduled = await idle.publish(late_after_s=0.05, schedule_time=LATER)
    assert from_text((await idle.task(scheduled))["late_at"]) == (from_text("2030-05-04T16:00:00.050Z") or 0)
    kit_of(idle.settings).change(Place.LEDGER, task_id, late_at=to_text(system_clock() - 1))
    await idle.start_worker()
    missed = await idle.wait_until_ended(task_id)
    assert (missed["status"], missed["error_class"], missed["attempts"]) == ("failed", "missed", [])
    assert "could not begin by" in missed["error_message"]
    assert (await idle.wait_until_ended(unhurried))["status"] == "success"
    assert [job.task_id for job in idle.publisher.published] == [unhurried]
    again = await idle.retry(task_id)
    assert (await idle.wait_until_ended(again))["status"] == "success"


async def test_an_automatic_attempt_is_not_made_too_late_either(idle: Stack) -> None:
    idle.publisher.fail_next(RateLimitedError("busy", retry_after_s=6))
    await idle.start_worker()
    task_id = await idle.publish(late_after_s=5)
    missed = await idle.wait_until_ended(task_id)
    assert (missed["error_class"], len(missed["attempts"])) == ("missed", 1)
    assert "its last attempt failed: busy" in missed["error_message"]


async def test_a_platform_says_how_late_its_tasks_may_be(tmp_path: Path) -> None:
    (tmp_path / "platforms.toml").write_text("[platforms.xiaohongshu]\nlate_after_s = 60\n", "utf-8")
    async with everpost_stack(workers=0, platforms=tmp_path / "platforms.toml") as stack:
        usual, own = await stack.publish(schedule_time=LATER), await stack.publish(schedule_time=LATER, late_after_s=5)
        times = [(await stack.task(task_id))["late_at"] for task_id in (usual, own)]
        assert times == ["2030-05-04T16:01:00.000Z", "2030-05-04T16:00:05.000Z"]
        answer = await stack.client.patch(f"/api/v1/tasks/{own}", json={"late_after_s": None})
        assert answer.status_code == 200, answer.text
        assert (await stack.task(own))["late_at"] == times[0]


async def test_a_task_that_may_have_been_sent_is_never_missed() -> None:
    async with everpost_stack(publisher=PublisherDouble(PublisherClass.KEYED), workers=0) as stack:
        stack.publisher.lose_next_answer()
        stack.publisher.hold()
        await stack.start_worker()
        task_id = await stack.publish(late_after_s=5)

        async def is_late() -> bool:
            late_ms = from_text((await stack.task(task_id))["late_at"]) or 0
            return bool(stack.publisher.attempts) and system_clock() > late_ms

        await eventually(is_late)
        stack.publisher.release()
        ended = await stack.wait_until_ended(task_id)
        assert (ended["status"], [job.attempt for job in stack.publisher.attempts]) == ("success", [1, 2])


async def test_a_batch_is_spread_over_daily_times_and_each_result_has_its_time(idle: Stack) -> None:
    tasks = [TASK, {**TASK, "title": 5}, TASK, {**TASK, "schedule_time": LATER}, {**TASK, "account_id": "b"}]
    body = {"tasks": tasks, "spread": {"daily_times": ["09:00", "18:30"], "start_days": 2}}
    headers = {"Idempotency-Key": "spread"}
    answer = await idle.client.post("/api/v1/publish/batch", json=body, headers=headers)
    results = answer.json()["results"]
    times = [result.get("schedule_time") for result in results]
    assert (times[1], times[3]) == (None, None)
    assert (times[0][11:16], times[2][11:16], times[4]) == ("09:00", "18:30", times[0])
    for result in (results[0], results[2]):
        task = await idle.task(result["task_id"])
        assert task["task_data"]["schedule_time"] == result["schedule_time"]
        assert from_text(task["due_at"]) == from_text(result["schedule_time"])
    again = await idle.client.post("/api/v1/publish/batch", json=body, headers=headers)
    assert again.json() == answer.json()


async def test_a_batch_is_spread_over_the_days_of_each_account_s_zone(idle: Stack) -> None:
    async def find(_: str, account_id: str) -> str | None:
        return "Asia/Tokyo" if account_id == "tokyo" else None

    idle.app.state.services.zones._find = find
    tasks = [{**TASK, "account_id": name} for name in ("tokyo", "berlin")]
    body = {"tasks": tasks, "spread": {"daily_times": ["09:00"], "start_days": 2}}
    results = (await idle.client.post("/api/v1/publish/batch", json=body)).json()["results"]
    assert [result["schedule_time"][11:16] for result in results] == ["09:00", "09:00"]
    assert [result["schedule_time"][-6:] for result in results] in (["+09:00", "+01:00"], ["+09:00", "+02:00"])


async def test_a_time_without_an_offset_follows_the_zone_of_an_edited_account(idle: Stack) -> None:
    async def find(_: str, account_id: str) -> str | None:
        return {"tokyo": "Asia/Tokyo", "ny": "America/New_York"}.get(account_id)

    idle.app.state.services.zones._find = find
    local, exact = [
        await idle.publish(account_id="tokyo", schedule_time=f"2030-05-04 18:00{offset}") for offset in ("", "+09:00")
    ]
    assert (await idle.task(local))["due_at"] == (await idle.task(exact))["due_at"] == "2030-05-04T09:00:00.000Z"
    answers = [
        (await idle.client.patch(f"/api/v1/tasks/{task_id}", json={"account_id": "ny"})).json()
        for task_id in (local, exact)
    ]
    assert [answer.get("due_at") for answer in answers] == ["2030-05-04T22:00:00.000Z", None]
    assert (await idle.task(local))["due_at"] == "2030-05-04T22:00:00.000Z"
    assert (await idle.task(exact))["due_at"] == "2030-05-04T09:00:00.000Z"
    title = (await idle.client.patch(f"/api/v1/tasks/{local}", json={"account_id": "ny", "title": "t"})).json()
    assert (title["edited"], title.get("due_at")) == (True, None)


WRONG_SPREADS: Sequence[Any] = (
    ({"videos_per_day": 9}, "$.spread.videos_per_day"),
    ({"daily_times": ["25:00"]}, "$.spread.daily_times[0]"),
    ({"until": "2020-01-01"}, "$.spread.until"),
    ({"videos_per_day": 1, "timezone": "Mars/Base"}, "$.spread.timezone"),
    ("soon", "$.spread"),
)


async def test_a_wrong_spread_is_refused_whole(idle: Stack) -> None:
    for spread, path in WRONG_SPREADS:
        answer = await idle.client.post("/api/v1/publish/batch", json={"tasks": [TASK], "spread": spread})
        assert_problem(answer, 422, "invalid_value", path)
        assert await idle.store.ledger.count_unfinished() == 0


async def stream(stack: Stack, *lines: Any) -> httpx.Response:
    body = b"\n".join(msgspec.json.encode(line) for line in lines)
    return await stack.client.post(
        "/api/v1/publish/batch", content=body, headers={"Content-Type": "application/x-ndjson"}
    )


def answered(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 202, answer.text
    return [msgspec.json.decode(line) for line in answer.text.splitlines()]


async def test_a_stream_is_spread_over_daily_times_as_its_lines_come(idle: Stack) -> None:
    head = {"spread": {"daily_times": ["09:00", "18:30"], "start_days": 2}}
    tasks = [TASK, {**TASK, "title": 5}, {**TASK, "n": 2**70}, {**TASK, "schedule_time": LATER}, *[TASK] * 600]
    *results, end = answered(await stream(idle, head, *tasks))
    assert (end["accepted"], end["rejected"], [result["index"] for result in results[:4]]) == (603, 1, [0, 1, 2, 3])
    times = [result.get("schedule_time") for result in results]
    assert (times[1], times[3]) == (None, None)
    placed = [time for time in times if time is not None]
    assert [time[11:16] for time in placed] == ["09:00", "18:30"] * 301
    days = [datetime.fromisoformat(time).date().toordinal() for time in placed]
    assert days == [days[0] + number // 2 for number in range(602)]
    kept = await idle.task(results[2]["task_id"])
    assert kept["task_data"] == {**TASK, "n": 2**70, "schedule_time": times[2]}
    assert from_text(kept["due_at"]) == from_text(times[2])


async def test_a_stream_is_spread_over_a_window_whose_count_it_says(idle: Stack) -> None:
    window = {"from": "2027-01-01T00:00:00Z", "until": "2027-01-01T03:00:00Z", "timezone": "UTC"}
    *results, end = answered(await stream(idle, {"spread": {**window, "count": 4}}, *[TASK] * 5))
    assert [result.get("schedule_time", "")[11:16] for result in results] == ["00:00", "01:00", "02:00", "03:00", ""]
    assert (results[4]["code"], results[4]["path"], end["accepted"]) == ("invalid_value", "$.spread.count", 4)
    accounts = [{**TASK, "account_id": name} for name in "abab"]
    *results, _ = answered(await stream(idle, {"spread": {**window, "count": 2, "per": "account"}}, *accounts))
    assert [result["schedule_time"][11:16] for result in results] == ["00:00", "00:00", "03:00", "03:00"]


@pytest.mark.parametrize(
    ("head", "path"),
    [
        ({"spread": {"until": "2027-01-01T03:00:00Z"}}, "$.spread.count"),
        ({"spread": {"videos_per_day": 1, "count": 3}}, "$.spread.count"),
        ({"spread": {"until": "2020-01-01", "count": 3}}, "$.spread.until"),
        ({"spread": {"videos_per_day": 1, "timezone": "Mars/Base"}}, "$.spread.timezone"),
        ({"spread": {"videos_per_day": 1}, "callback_url": "https://example.com"}, "$"),
        ({"spread": None}, "$.spread"),
    ],
)
async def test_a_stream_with_a_wrong_head_is_refused_whole(idle: Stack, head: Any, path: str) -> None:
    assert_problem(await stream(idle, head, TASK), 422, "invalid_value", path)
    assert await idle.store.ledger.count_unfinished() == 0


async def test_a_list_says_no_count(idle: Stack) -> None:
    body = {"tasks": [TASK], "spread": {"until": "2030-01-01", "count": 1}}
    assert_problem(await idle.client.post("/api/v1/publish/batch", json=body), 422, "invalid_value", "$.spread.count")


def leader_of(stack: Stack, clock_ms: int) -> RecurringPosts:
    """The leader's duty, as a worker does it at a time."""
    services = stack.app.state.services
    return RecurringPosts(
        stack.store,
        stack.queue,
        services.catalogue,
        services.zones,
        lambda: clock_ms,
        worker_id="leader",
        count=lambda _: None,
    )


async def add(stack: Stack, **fields: Any) -> dict[str, Any]:
    body = {"name": "digest", "cron": "0 9 * * MON", "data": TASK, **fields}
    answer = await stack.client.post("/api/v1/recurring", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def set_next(stack: Stack, next_ms: int) -> Recurrence:
    found = await stack.store.recurring.find("digest")
    assert found is not None
    after = replace(found, next_at=to_text(next_ms))
    assert await stack.store.recurring.change(found, after, None, next_ms)
    return after


async def test_a_recurring_post_is_made_by_the_leading_worker_and_published_at_its_time(idle: Stack) -> None:
    added = await add(idle, cron="0 0 29 2 *", timezone="Asia/Tokyo")
    assert added["next_times"][0].endswith("+09:00")
    due_ms = system_clock() + 700
    await set_next(idle, due_ms)
    await idle.start_worker()

    async def published() -> bool:
        return bool(idle.publisher.published)

    await eventually(published)
    (job,) = idle.publisher.published
    task = await idle.wait_until_ended(job.task_id)
    assert (task["status"], task["batch_id"], task["title"]) == ("success", added["data"]["recurrence_id"], "digest")
    assert (from_text(task["started_at"]) or 0) >= due_ms
    shown = (await idle.client.get("/api/v1/recurring/digest")).json()["data"]
    assert (shown["made"], shown["missed"], shown["last_task_id"]) == (1, 0, job.task_id)


async def test_an_occurrence_that_several_leaders_make_is_one_task(idle: Stack) -> None:
    await add(idle)
    now_ms = system_clock()
    await set_next(idle, now_ms + AHEAD_MS - 1)
    made = await asyncio.gather(*(leader_of(idle, now_ms).tick() for _ in range(5)))
    assert sum(made) == 1
    assert await idle.store.ledger.count_unfinished() == 1


async def test_after_an_outage_the_newest_occurrence_is_made_and_missed_if_it_is_too_late(idle: Stack) -> None:
    added = await add(idle, cron="0 * * * *", data={**TASK, "late_after_s": 0.001})
    hour_ms = 3_600_000
    now_ms = system_clock() // hour_ms * hour_ms - hour_ms // 2  # far from the next occurrence
    await set_next(idle, now_ms // hour_ms * hour_ms - 4 * hour_ms)
    assert await leader_of(idle, now_ms).tick() == 1
    shown = (await idle.client.get("/api/v1/recurring/digest")).json()["data"]
    assert (shown["made"], shown["missed"]) == (1, 4)
    assert (from_text(shown["next_at"]) or 0) > now_ms
    await idle.start_worker()
    ended = await idle.wait_until_ended(shown["last_task_id"])
    assert (ended["status"], ended["error_class"]) == ("failed", "missed")
    assert added["data"]["recurrence_id"] == ended["batch_id"]
    assert idle.publisher.published == []


async def test_a_paused_post_makes_nothing_and_goes_on_with_its_next_time(idle: Stack) -> None:
    await add(idle)
    now_ms = system_clock()
    await set_next(idle, now_ms + AHEAD_MS - 1)
    await leader_of(idle, now_ms).tick()
    made = await idle.store.recurring.find("digest")
    assert made is not None
    paused = (await idle.client.post("/api/v1/recurring/digest/pause")).json()
    assert (paused["data"]["status"], paused["data"]["next_at"], paused["next_times"]) == ("paused", None, [])
    assert (await idle.task(str(made.last_task_id)))["status"] == "cancelled"
    assert await leader_of(idle, now_ms + 10**10).tick() == 0
    resumed = (await idle.client.post("/api/v1/recurring/digest/resume")).json()["data"]
    assert resumed["status"] == "active"
    assert (from_text(resumed["next_at"]) or 0) > (from_text(made.last_at) or 0)


async def test_an_edit_counts_from_the_next_occurrence_of_which_no_task_exists(idle: Stack) -> None:
    await add(idle, cron="* * * * *")
    now_ms = system_clock()
    due_ms = (now_ms // 60_000 + 1) * 60_000
    await leader_of(idle, due_ms - AHEAD_MS).tick()
    patched = await idle.client.patch(
        "/api/v1/recurring/digest", json={"data": {"title": "new"}, "cron": "*/2 * * * *"}
    )
    data = patched.json()["data"]
    assert (data["data"]["title"], data["cron"]) == ("new", "*/2 * * * *")
    assert (from_text(data["next_at"]) or 0) > due_ms
    assert [task.title for task in kit_of(idle.settings).tasks()] == ["digest"]


WRONG_RECURRING: Sequence[Any] = (
    ({"cron": "never"}, 422, "invalid_value", "$.cron"),
    ({"timezone": "Mars/Base"}, 422, "invalid_value", "$.timezone"),
    ({"until": "2020-01-01"}, 422, "invalid_value", "$.until"),
    ({"name": "a/b"}, 422, "invalid_value", "$.name"),
    ({"data": {"platform": 1}}, 422, "invalid_value", "$.data"),
    ({"data": {**TASK, "schedule_time": LATER}}, 422, "invalid_value", "$.data.schedule_time"),
    ({"data": {**TASK, "platform": "nowhere"}}, 422, "unknown_platform", "$.data.platform"),
    ({"data": {**TASK, "platform": "bluesky"}}, 422, "unknown_account", "$.data.account_id"),
    ({"data": {**TASK, "file_id": "0" * 32}}, 422, "unknown_file", "$.data.file_id"),
    ({"other": 1}, 422, "invalid_value", "$"),
    ({"name": "digest"}, 409, "recurrence_exists", None),
)


async def test_a_wrong_recurring_post_is_refused(idle: Stack) -> None:
    await add(idle)
    for fields, status, code, path in WRONG_RECURRING:
        body = {"name": "other", "cron": "0 9 * * *", "data": TASK, **fields}
        assert_problem(await idle.client.post("/api/v1/recurring", json=body), status, code, path)
        assert [one["name"] for one in (await idle.client.get("/api/v1/recurring")).json()["data"]] == ["digest"]


async def test_a_recurring_post_is_checked_listed_and_removed(idle: Stack) -> None:
    checked = await idle.client.post(
        "/api/v1/recurring", params={"dry_run": "true"}, json={"name": "x", "cron": "0 9 * * *", "data": TASK}
    )
    assert (checked.status_code, len(checked.json()["next_times"])) == (200, 5)
    assert "unknown_fields" not in checked.json()
    await add(idle)
    assert (await add(idle, name="另一个", data={**TASK, "titel": "x"}))["unknown_fields"] == ["titel"]
    page = (await idle.client.get("/api/v1/recurring", params={"limit": 1})).json()
    assert ([one["name"] for one in page["data"]], page["next_after"]) == (["digest"], "digest")
    times = (await idle.client.get("/api/v1/recurring/digest/next", params={"count": 3})).json()["next_times"]
    assert len(times) == 3
    assert (await idle.client.delete("/api/v1/recurring/另一个")).status_code == 200
    for path in ("另一个", "nowhere", "%00"):
        assert_problem(await idle.client.get(f"/api/v1/recurring/{path}"), 404, "recurrence_not_found")
