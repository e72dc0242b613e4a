"""The checks can fail: after a good run, each kind of damage done by another program is found."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from chaos_kit.checks import Facts, Verdict, find_left_over, read_effects, verdict_of
from chaos_kit.effects_worker import Effect, EffectsPublisher
from chaos_kit.scene import Scene, playing
from everpost.platforms import Catalogue
from everpost.publishing import NotFound, PermanentError, PublisherClass, PublishJob
from everpost.task.place import Place
from store_kit import StoredTask, StoreKit, kit_of

POSTS = 40

Damage = Callable[[StoreKit, StoredTask], None]
"""What is done to a store that has this task."""


def lose(kit: StoreKit, task: StoredTask) -> None:
    kit.remove(Place.HISTORY, task.task_id)


def add_stray(kit: StoreKit, _: StoredTask) -> None:
    kit.add(Place.HISTORY, {"task_id": "stray", "status": "failed", "data": '{"marker": "?"}', "created_at": "2026"})


def add_to_ledger(kit: StoreKit, task: StoredTask) -> None:
    data = json.dumps(task.data)
    kit.add(Place.LEDGER, {"task_id": task.task_id, "status": "pending", "data": data, "accepted_by": "test"})


def alter(kit: StoreKit, task: StoredTask) -> None:
    kit.change(Place.HISTORY, task.task_id, data=json.dumps({**task.data, "extra": 1}))


def call_failed(kit: StoreKit, task: StoredTask) -> None:
    kit.change(Place.HISTORY, task.task_id, status="failed")


def miscount(kit: StoreKit, _: StoredTask) -> None:
    kit.miscount()


def submit_again(kit: StoreKit, task: StoredTask) -> None:
    row = {"task_id": "again", "status": "failed", "data": json.dumps(task.data), "created_at": task.created_at}
    kit.add(Place.HISTORY, row)


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


def verdict_of_damaged(good: tuple[Facts, Path], folder: Path, damage: Damage) -> Verdict:
    """The verdict after a copy of the database was damaged."""
    facts, original = good
    copy = folder / "damaged.db"
    shutil.copyfile(original / "everpost.db", copy)
    kit = kit_of(copy)
    damage(kit, facts.rows[0])
    damaged = msgspec.structs.replace(facts, rows=kit.tasks(), counted=kit.counted(), faults=kit.find_faults())
    return verdict_of(damaged, PublisherClass.NONE)


def test_a_row_deleted_behind_the_back_is_lost(good: tuple[Facts, Path], tmp_path: Path) -> None:
    verdict = verdict_of_damaged(good, tmp_path, lose)
    assert len(verdict.lost) == 1
    assert any("is not recorded" in line for line in verdict.unexpected)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (add_stray, "holds what no client posted"),
        (add_to_ledger, "stands in 2 places"),
        (add_to_ledger, "is open: pending"),
        (alter, "was altered"),
        (call_failed, "is called failed (None) and was sent"),
        (miscount, "there are"),
    ],
)
def test_damage_to_the_tables_is_found(good: tuple[Facts, Path], tmp_path: Path, damage: Damage, found: str) -> None:
    verdict = verdict_of_damaged(good, tmp_path, damage)
    assert not verdict.is_good
    assert any(found in line for line in verdict.unexpected), verdict


def test_a_request_that_became_two_tasks_is_duplicated(good: tuple[Facts, Path], tmp_path: Path) -> None:
    assert len(verdict_of_damaged(good, tmp_path, submit_again).duplicated) == 1


def test_a_second_effect_is_duplicated_unless_the_platform_allows_it(good: tuple[Facts, Path]) -> None:
    facts, folder = good
    effects = read_effects(folder / "effects.jsonl")
    twice = msgspec.structs.replace(facts, effects=[*effects, effects[0]])
    assert verdict_of(twice, PublisherClass.NONE).duplicated == [f"{effects[0].task_id} was sent 2 times"]
    assert verdict_of(twice, PublisherClass.KEYED).is_good


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
    verdict = verdict_of(msgspec.structs.replace(facts, effects=change(list(facts.effects))), PublisherClass.LOCAL)
    assert any(found in line for line in verdict.unexpected), verdict


async def test_a_platform_that_said_there_is_no_post_refuses_what_an_earlier_attempt_sends_after_that(
    tmp_path: Path,
) -> None:
    publisher = EffectsPublisher(tmp_path / "effects", PublisherClass.CHECKABLE, delay_s=0)
    platform = Catalogue.read().find("douyin")
    frozen, later = (
        PublishJob(task_id="t1", data={}, platform=platform, attempt=attempt, idempotency_key="k" * 32)
        for attempt in (1, 2)
    )
    assert await publisher.look_up(later) is NotFound.NOT_FOUND
    with pytest.raises(PermanentError, match="there is no such post"):
        await publisher.publish(frozen)
    assert (await publisher.publish(later)).provider_post_id == "t1"
    assert [effect.task_id for effect in read_effects(tmp_path / "effects")] == ["t1"]
