"""The trial of publishers finds those that are wrong about their class, and passes those that are right."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from everpost.errors import SettingsError
from everpost.publishing import Publisher
from everpost.testing.trial import Fault, NotConforming, Step, TrialReport, try_publisher
from tried_publishers import Blind, Careless, Honest, Keyless, Poster, Quitter, SmallPlatform, Unready, Uploader

CUTS = {Fault.CUT_REQUEST, Fault.CUT_ANSWER}
KILLS = {Fault.KILL_BEFORE_REQUEST, Fault.KILL_AFTER_REQUEST}


@pytest.fixture
async def platform() -> AsyncIterator[SmallPlatform]:
    async with SmallPlatform().serving() as platform:
        yield platform


def url(address: str) -> Mapping[str, Any]:
    return {"url": f"http://{address}"}


async def tried(
    publisher: type[Publisher] | str, platform: SmallPlatform, wanted: Callable[[Step], bool], **more: Any
) -> TrialReport:
    return await try_publisher(
        publisher,
        posts=platform.posts,
        options=more.pop("options", url),
        platform_at=platform.address,
        wanted=wanted,
        cuts=1,
        **more,
    )


@pytest.mark.usefixtures("both_stores")
async def test_a_publisher_that_sends_no_key_and_claims_one_is_found_by_a_lost_answer(platform: SmallPlatform) -> None:
    report = await tried(Keyless, platform, lambda step: step.fault in CUTS)
    assert [(finding.step.fault, finding.posts) for finding in report.findings] == [
        (Fault.NONE, 1), (Fault.CUT_REQUEST, 1), (Fault.CUT_ANSWER, 2),
    ]  # fmt: skip
    with pytest.raises(NotConforming, match=r"3 steps, 1 bad(?s:.*)BAD  connection cut after 0 bytes.*it 2 times"):
        report.check()


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("publisher", "bad"),
    [
        (Keyless, {Fault.KILL_AFTER_REQUEST, Fault.CUT_ANSWER}),
        (Blind, {Fault.KILL_AFTER_REQUEST, Fault.CUT_ANSWER}),
        (Careless, {Fault.CUT_ANSWER}),
        (Quitter, {Fault.CUT_REQUEST}),
        (Honest, set()),
    ],
)
async def test_every_kind_of_wrong_class_is_found_where_it_shows(
    publisher: type[Publisher], bad: set[Fault], platform: SmallPlatform
) -> None:
    report = await tried(publisher, platform, lambda step: step.fault in CUTS | KILLS)
    assert {finding.step.fault for finding in report.faults} == bad, report
    assert all(finding.was_reached for finding in report.findings), report


@pytest.mark.chaos
@pytest.mark.parametrize("publisher", [Poster, Uploader, Honest])
@pytest.mark.usefixtures("both_stores")
async def test_publishers_that_are_right_about_their_class_pass_every_step(
    publisher: type[Publisher], platform: SmallPlatform
) -> None:
    report = await tried(publisher, platform, lambda _: True)
    report.check()
    assert all(finding.was_reached for finding in report.findings), report
    steps = {finding.step.fault for finding in report.findings}
    saves = {Fault.KILL_BEFORE_CHECKPOINT, Fault.KILL_AFTER_CHECKPOINT, Fault.FREEZE_AT_CHECKPOINT}
    assert steps == set(Fault) - {Fault.KILL_AMID} - (set() if publisher is Uploader else saves)


@pytest.mark.chaos
async def test_the_webhook_passes_every_step(platform: SmallPlatform) -> None:
    received = Receiver()
    async with received.serving():
        report = await try_publisher(
            "webhook",
            posts=received.posts,
            platform_at=received.address,
            options=lambda address: {"url": f"http://{address}/", "allow_http": True, "allow_private": True},
            cuts=20,
        )
    report.check()
    assert len(report.findings) > 25, report


@pytest.mark.chaos
async def test_the_folder_passes_every_step(tmp_path: Path) -> None:
    root = tmp_path / "posts"

    async def posts() -> list[str]:
        return [file.read_text("utf-8") for file in root.glob("*/*/metadata.json")]

    media = tmp_path / "media"
    media.mkdir()
    (media / "video.mp4").write_bytes(bytes(1 << 24))
    report = await try_publisher(
        "folder", posts=posts, options={"root": root}, fields={"file_path": "video.mp4"}, media=media
    )
    report.check()
    assert {finding.step.fault for finding in report.findings} >= {Fault.KILL_AMID, Fault.KILL_BEFORE_RECORD}


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("publisher", "options", "kind", "words"),
    [(Poster, {"adress": "x"}, SettingsError, "unknown field"), (Unready, url, TimeoutError, "it cannot sign in")],
)
async def test_a_publisher_that_does_not_start_is_told_as_that(
    publisher: type[Publisher], options: Any, kind: type[Exception], words: str, platform: SmallPlatform
) -> None:
    with pytest.raises(kind, match=words):
        await tried(publisher, platform, lambda _: True, options=options)


async def test_a_publisher_that_is_not_there_is_told_as_that(platform: SmallPlatform) -> None:
    with pytest.raises(ValueError, match="There is no publisher 'nowhere'"):
        await tried("nowhere", platform, lambda _: True)


class Receiver(SmallPlatform):
    """A webhook's receiver, which remembers keys."""

    def _answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Any:
        assert (method, path) == ("POST", "/")
        return super()._answer(method, "/posts", headers, json.dumps({"text": body.decode()}).encode())
