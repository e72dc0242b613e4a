"""The checks can fail: each kind of damage, done behind the back of a run that went well, is found."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from chaos_kit.checks import Facts, Verdict, find_left_over, judge, read_effects, read_rows
from chaos_kit.effects_worker import Effect
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass
from everpost.store.sqlite.library import sqlite3

POSTS = 40

STRAY = """
INSERT INTO publish_tasks (job_id, status, task_data, created_at) VALUES ('stray', 'failed', '{"marker": "?"}', '2026')
"""
TWICE = """
INSERT INTO task_queue (task_id, task_type, status, data, accepted_by)
SELECT job_id, 'publish', 'pending', task_data, 'test' FROM publish_tasks WHERE task_id = 1
"""
RESUBMITTED = """
INSERT INTO publish_tasks (job_id, status, task_data, created_at)
SELECT 'again', 'failed', task_data, created_at FROM publish_tasks WHERE task_id = 1
"""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Facts, Path]:
    """What a run without faults left, and its database."""
    folder = tmp_path_factory.mktemp("good")

    async def play() -> Facts:
        scene = Scene(folder, seed=1, publisher_class=PublisherClass.NONE, workers=1, most=POSTS)
        async with playing(scene):
            scene.load.start()
            await scene.load.more(POSTS)
            verdict = await scene.finish()
            assert verdict.is_good, verdict
            facts = await scene.facts()
            await scene.redis.set("arq:job:orphan", b"")
            assert await find_left_over(scene.redis) == ["arq:job:orphan"]
            for process in (*scene.apis, *scene.workers):
                assert await process.stop() == 0
        return facts

    return asyncio.run(play()), folder


def verdict_of_damaged(good: tuple[Facts, Path], folder: Path, statement: str) -> Verdict:
    """The verdict after a statement has changed a copy of the database."""
    facts, original = good
    copy = folder / "damaged.db"
    shutil.copyfile(original / "everpost.db", copy)
    connection = sqlite3.connect(copy, isolation_level=None)
    connection.execute(statement)
    connection.close()
    rows, counted, integrity = read_rows(copy)
    damaged = msgspec.structs.replace(facts, rows=rows, counted=counted, integrity=integrity)
    return judge(damaged, PublisherClass.NONE)


def test_a_row_deleted_behind_the_back_is_lost(good: tuple[Facts, Path], tmp_path: Path) -> None:
    verdict = verdict_of_damaged(good, tmp_path, "DELETE FROM publish_tasks WHERE task_id = 1")
    assert len(verdict.lost) == 1
    assert any("is not recorded" in line for line in verdict.unexpected)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (STRAY, "holds what nobody posted"),
        (TWICE, "stands in 2 places"),
        (TWICE, "is open: pending"),
        ("UPDATE publish_tasks SET task_data = json_set(task_data, '$.extra', 1) WHERE task_id = 1", "was altered"),
        ("UPDATE publish_tasks SET status = 'failed' WHERE task_id = 1", "is called failed (None) and was sent"),
        ("UPDATE task_counts SET tasks = tasks + 1", "there are"),
    ],
)
def test_damage_to_the_tables_is_found(good: tuple[Facts, Path], tmp_path: Path, statement: str, found: str) -> None:
    verdict = verdict_of_damaged(good, tmp_path, statement)
    assert not verdict.is_good
    assert any(found in line for line in verdict.unexpected), verdict


def test_a_request_that_became_two_tasks_is_duplicated(good: tuple[Facts, Path], tmp_path: Path) -> None:
    assert len(verdict_of_damaged(good, tmp_path, RESUBMITTED).duplicated) == 1


def test_a_second_effect_is_duplicated_unless_the_platform_allows_it(good: tuple[Facts, Path]) -> None:
    facts, folder = good
    effects = read_effects(folder / "effects.jsonl")
    twice = msgspec.structs.replace(facts, effects=[*effects, effects[0]])
    assert judge(twice, PublisherClass.NONE).duplicated == [f"{effects[0].task_id} was sent 2 times"]
    assert judge(twice, PublisherClass.KEYED).is_good


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda effects: effects[1:], "is called a success and was never sent"),
        (lambda effects: [*effects, Effect("stray", "key")], "is not recorded"),
        (lambda effects: [*effects, Effect(effects[0].task_id, "another")], "was sent with 2 keys"),
    ],
)
def test_a_platform_that_tells_another_story_is_found(
    good: tuple[Facts, Path], change: Callable[[list[Effect]], list[Effect]], found: str
) -> None:
    facts, _ = good
    verdict = judge(msgspec.structs.replace(facts, effects=change(list(facts.effects))), PublisherClass.LOCAL)
    assert any(found in line for line in verdict.unexpected), verdict
