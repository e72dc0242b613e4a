"""Validation before queueing: rules of the catalogue, dry runs, and unknown fields."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from api_support import BATCH, PUBLISH, TASK, assert_problem
from everpost.testing import Stack, everpost_stack
from media_samples import png

CATALOGUE = """
[platforms.strict]
id = 50
publisher = "folder"
title_min = 2
title_max = 5
title_counting = "graphemes"
tags_total_max = 8
media_min = 1
fields = ["visibility"]
[[platforms.strict.media]]
types = ["image/*"]
files_max = 1
width_max = 40

[platforms.open]
id = 51
publisher = "folder"
fields = ["*"]
"""
POST: dict[str, Any] = {"platform": "strict", "account_id": "a", "title": "ok"}


@pytest_asyncio.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    catalogue = tmp_path / "platforms.toml"
    catalogue.write_text(CATALOGUE)
    async with everpost_stack(folder=tmp_path / "data", workers=0, platforms=catalogue) as opened:
        yield opened


async def upload(stack: Stack, content: bytes) -> str:
    answer = await stack.client.post("/api/v1/files", content=content, params={"filename": "a.png"})
    return str(answer.json()["file_id"])


async def count(stack: Stack) -> int:
    return await stack.store.ledger.count_unfinished()


async def test_a_dry_run_says_what_would_happen_and_writes_nothing(stack: Stack) -> None:
    file_id = await upload(stack, png(30, 20))
    later = {**POST, "file_id": file_id, "schedule_time": "2030-01-01 08:00", "scheduled_time": "x"}
    answer = await stack.client.post(PUBLISH, params={"dry_run": "true"}, json=later)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["success"], told["platform"], told["status"]) == (True, "strict", "scheduled")
    assert (told["due_at"], told["unknown_fields"]) == ("2030-01-01T08:00:00.000Z", ["scheduled_time"])
    assert [(file["file_id"], file["width"]) for file in told["files"]] == [(file_id, 30)]
    headers = {"idempotency-key": "k"}
    again = await stack.client.post(PUBLISH, params={"dry_run": "1"}, json={**TASK, "platform": 3}, headers=headers)
    assert again.status_code == 200
    assert await count(stack) == 0
    assert (await stack.client.post(PUBLISH, json=TASK, headers=headers)).status_code == 202
    assert (await stack.client.post(PUBLISH, params={"dry_run": "false"}, json=TASK)).status_code == 202


@pytest.mark.parametrize("dry_run", ["true", "false"])
async def test_a_task_beyond_its_platforms_rules_is_refused_with_the_path(stack: Stack, dry_run: str) -> None:
    small, wide = await upload(stack, png(30, 20)), await upload(stack, png(41, 1))
    text = await upload(stack, b"only text")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"title": "x", "file_id": small}, "$.title"),
        ({"title": "👨‍👩‍👧‍👦" * 6, "file_id": small}, "$.title"),
        ({"tags": ["abcd", "efgh"], "file_id": small}, "$.tags"),
        ({}, "$.files"),
        ({"file_id": wide}, "$.file_id"),
        ({"file_id": text}, "$.file_id"),
        ({"files": [{"file_id": small}, {"file_id": small}]}, "$.files[1].file_id"),
    ]
    for fields, path in cases:
        answer = await stack.client.post(PUBLISH, params={"dry_run": dry_run}, json={**POST, **fields})
        assert_problem(answer, 422, "invalid_value", path)
    assert await count(stack) == 0
    good = {**POST, "title": "👨‍👩‍👧‍👦" * 5, "files": [{"file_id": small}], "tags": ["abcd", "efg"]}
    answer = await stack.client.post(PUBLISH, params={"dry_run": dry_run}, json=good)
    assert answer.status_code == (200 if dry_run == "true" else 202), answer.text


async def test_an_edit_is_checked_by_the_rules_of_the_platform(stack: Stack) -> None:
    small, wide = await upload(stack, png(30, 20)), await upload(stack, png(41, 1))
    (media := stack.settings.media_root).mkdir(parents=True)
    (media / "wide.png").write_bytes(png(41, 1))
    task_id = await stack.publish(**POST, file_id=small)
    path, before = f"/api/v1/tasks/{task_id}", await stack.task(task_id)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"title": "x"}, "$.title"),
        ({"title": "👨‍👩‍👧‍👦" * 6}, "$.title"),
        ({"tags": ["abcd", "efgh"]}, "$.tags"),
        ({"file_id": None}, "$.files"),
        ({"file_id": wide}, "$.file_id"),
        ({"file_id": None, "file_path": "wide.png"}, "$.file_path"),
    ]
    for patch, place in cases:
        for dry_run in ("true", "false"):
            answer = await stack.client.patch(path, params={"dry_run": dry_run}, json=patch)
            assert_problem(answer, 422, "invalid_value", place)
    patch = {"title": "👨‍👩‍👧‍👦" * 5, "scheduled_time": "2030-01-01", "visibility": "all"}
    would = (await stack.client.patch(path, params={"dry_run": "true"}, json=patch)).json()
    assert (would["edited"], would["dry_run"], would["unknown_fields"]) == (True, True, ["scheduled_time"])
    assert await stack.task(task_id) == before
    done = (await stack.client.patch(path, json=patch)).json()
    assert (done["edited"], "dry_run" in done, done["unknown_fields"]) == (True, False, ["scheduled_time"])
    assert (await stack.task(task_id))["title"] == "👨‍👩‍👧‍👦" * 5
    same = (await stack.client.patch(path, params={"dry_run": "true"}, json=patch)).json()
    assert (same["edited"], same["dry_run"]) == (False, True)


async def test_media_of_a_path_are_looked_at_too(stack: Stack) -> None:
    media = stack.settings.media_root
    media.mkdir(parents=True)
    (media / "wide.png").write_bytes(png(41, 1))
    assert_problem(
        await stack.client.post(PUBLISH, json={**POST, "file_path": "wide.png"}), 422, "invalid_value", "$.file_path"
    )
    assert (await stack.client.post(PUBLISH, json={**POST, "file_path": "elsewhere.png"})).status_code == 202
    (media / "vast.png").write_bytes(png(30, 20))
    os.truncate(media / "vast.png", stack.settings.max_media + 1)
    answer = await stack.client.post(PUBLISH, json={**POST, "file_path": "vast.png"})
    assert "EVERPOST_MAX_MEDIA" in assert_problem(answer, 422, "invalid_value", "$.file_path")["detail"]


async def test_unknown_fields_are_named_in_the_answer(stack: Stack) -> None:
    answer = await stack.client.post(PUBLISH, json={**TASK, "scheduled_time": "2030-01-01", "schedule_time": None})
    assert answer.json()["unknown_fields"] == ["scheduled_time"]
    assert "unknown_fields" not in (await stack.client.post(PUBLISH, json=TASK)).json()
    taken = {"platform": "open", "account_id": "a", "anything": 1}
    assert "unknown_fields" not in (await stack.client.post(PUBLISH, json=taken)).json()
    for _ in range(2):
        headers = {"idempotency-key": "k"}
        answer = await stack.client.post(PUBLISH, json={**TASK, "visibility": "x"}, headers=headers)
        assert answer.json()["unknown_fields"] == ["visibility"]
    many = {f"{'x' * 200}{number}": 1 for number in range(100)}
    shortened = (await stack.client.post(PUBLISH, json={**TASK, **many})).json()["unknown_fields"]
    assert (len(shortened), {len(name) for name in shortened}) == (20, {100})


async def test_unknown_fields_are_named_for_each_item_of_a_batch(stack: Stack) -> None:
    answer = await stack.client.post(BATCH, json=[TASK, {**TASK, "titel": "x"}])
    assert [item.get("unknown_fields") for item in answer.json()["results"]] == [None, ["titel"]]
    lines = "\n".join(json.dumps(item) for item in ({**TASK, "tag": []}, TASK))
    answer = await stack.client.post(BATCH, content=lines, headers={"content-type": "application/x-ndjson"})
    told = [json.loads(line) for line in answer.text.splitlines()]
    assert [item.get("unknown_fields") for item in told[:2]] == [["tag"], None]


async def test_a_post_to_bluesky_that_is_too_long_or_has_a_wrong_field_is_told_so_at_once(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path / "data", workers=0) as stack:
        account = {"platform": "bluesky", "account_id": "a.example"}
        assert (await stack.client.post("/api/v1/accounts", json=account)).status_code == 201
        refused = await stack.client.post(PUBLISH, json={**account, "text": "👩‍👩‍👧" * 301})
        assert_problem(refused, 422, "invalid_value", "$.text")
        accepted = await stack.client.post(
            PUBLISH, json={**account, "text": "👩‍👩‍👧" * 100, "language": "zh", "spoiler_text": "x"}
        )
        assert (accepted.status_code, accepted.json()["unknown_fields"]) == (202, ["spoiler_text"])
