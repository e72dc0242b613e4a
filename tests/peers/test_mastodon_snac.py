"""The publisher `mastodon` against snac, a real server with Mastodon's API that ignores Idempotency-Key."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from everpost.platforms import Catalogue
from everpost.publishing import (
    AuthError,
    NotFound,
    OutcomeUnknownError,
    PublisherClass,
    PublishJob,
    PublishResult,
    Settings,
    TransientError,
)
from everpost.testing import AccountDouble
from everpost.testing.trial import try_publisher
from everpost_workers.publishers.mastodon import posting
from everpost_workers.publishers.mastodon.publisher import MastodonPublisher
from publisher_kit import CuttingProxy, error_from, media_file, register
from snac_server import Snac

pytestmark = pytest.mark.peer

OPTIONS = {"key_lifetime_s": 0, "allow_http": True, "allow_private": True}
PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 100


@pytest.fixture
async def publisher(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MastodonPublisher]:
    monkeypatch.setattr(posting, "PAUSE_S", 0.01)
    publisher = MastodonPublisher(OPTIONS, Settings())
    assert publisher.publisher_class is PublisherClass.CHECKABLE
    yield publisher
    await publisher.close()


def job_of(url: str, token: str, **more: Any) -> PublishJob:
    account = AccountDouble("alice", {"access_token": token}, {"url": url})
    given = {"data": {"title": "Hello"}, "idempotency_key": "5" * 32, "task_id": "t1", **more}
    return PublishJob(platform=Catalogue.read().find("mastodon"), account=account, **given)


async def test_a_status_with_an_image_and_a_spoiler_is_posted_and_found_again(
    snac: Snac, publisher: MastodonPublisher, tmp_path: Path
) -> None:
    data = {
        "text": "测试 *bold* https://a.example/x?y=1&z=2 @bob@other.example",
        "tags": ["tag"],
        "spoiler_text": "careful",
        "sensitive": True,
        "language": "zh",
    }
    files = (media_file(tmp_path, "a.png", PNG, "image/png", alt="a face"),)
    job = job_of(snac.url, snac.token, data=data, files=files)
    result = await publisher.publish(job)
    (status,) = await snac.statuses()
    assert (result.provider_post_id, result.publish_url) == (status["id"], status["url"])
    assert status["text"] == f"{data['text']}\n\n#tag"
    assert (status["spoiler_text"], status["sensitive"]) == ("careful", True)
    assert [item["description"] for item in status["media_attachments"]] == ["a face"]
    found = await publisher.look_up(job)
    assert isinstance(found, PublishResult)
    assert found.provider_post_id == status["id"]


async def test_a_server_that_ignores_keys_gets_no_second_status_from_a_repetition(
    snac: Snac, publisher: MastodonPublisher
) -> None:
    job = job_of(snac.url, snac.token)
    first = await publisher.publish(job)
    again = await publisher.publish(job_of(snac.url, snac.token, saved=job.saved, attempt=2))
    assert again.provider_post_id == first.provider_post_id
    assert len(await snac.statuses()) == 1


async def test_without_a_look_the_server_makes_a_second_status_although_the_key_is_the_same(
    snac: Snac, publisher: MastodonPublisher
) -> None:
    """The control of the test above: the server does ignore keys."""
    for _ in range(2):
        await publisher.publish(job_of(snac.url, snac.token))
    assert len(await snac.statuses()) == 2


async def test_a_private_status_that_the_server_does_not_list_gives_no_verdict(
    snac: Snac, publisher: MastodonPublisher
) -> None:
    job = job_of(snac.url, snac.token, data={"title": "hidden", "visibility": "private"})
    await publisher.publish(job)
    assert await publisher.look_up(job) is NotFound.NO_VERDICT
    with pytest.raises(OutcomeUnknownError):
        await publisher.publish(job_of(snac.url, snac.token, data=job.data, saved=job.saved, attempt=2))


async def test_a_token_is_checked(snac: Snac, publisher: MastodonPublisher) -> None:
    assert (await publisher.check_account(job_of(snac.url, snac.token).account)).startswith("alice")
    with pytest.raises(AuthError):
        await publisher.publish(job_of(snac.url, "wrong"))


async def test_a_connection_to_the_real_server_that_breaks_makes_no_second_status(
    snac: Snac, publisher: MastodonPublisher, tmp_path: Path
) -> None:
    files = (media_file(tmp_path, "a.png", PNG, "image/png"),)
    async with CuttingProxy(snac.port).serve() as proxy:
        proxy.cut_after(None)
        await publisher.publish(job_of(proxy.url, snac.token, data={"text": "whole"}, files=files))
        cuts = range(0, proxy.passed, 251)
        for cut in cuts:
            publisher._poster.opened._known.clear()  # type: ignore[union-attr]  # it is open
            job = job_of(proxy.url, snac.token, data={"text": f"cut after {cut}"}, files=files)
            proxy.cut_after(cut)
            error = await error_from(publisher.publish(job))
            assert error is None or isinstance(error, TransientError | OutcomeUnknownError), (cut, error)
            proxy.cut_after(None)
            if isinstance(error, OutcomeUnknownError):
                assert await publisher.look_up(job) is not NotFound.NO_VERDICT
            again = job_of(proxy.url, snac.token, data=job.data, files=files, saved=job.saved, attempt=2)
            await publisher.publish(again)
        texts = [status["text"] for status in await snac.statuses()]
    expected = ["whole", *(f"cut after {cut}" for cut in cuts)]
    assert sorted(text for text in texts if text in expected) == sorted(expected)
    # snac takes a request whose body was cut off, and posts the part that it has.
    truncated = [text for text in texts if text not in expected]
    assert all(any(text.startswith(part) for text in expected) for part in truncated), truncated


async def test_the_publisher_keeps_its_class_at_every_step_with_the_real_server(
    snac: Snac, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERPOST_ACCOUNT_TRIAL", snac.token)
    (tmp_path / "a.png").write_bytes(PNG)

    async def texts() -> list[str]:
        return [status["text"] for status in await snac.statuses()]

    report = await try_publisher(
        MastodonPublisher,
        posts=texts,
        platform_at=("127.0.0.1", snac.port),
        options=lambda address: {"url": f"http://{address}", **OPTIONS},
        fields={"account_id": "alice", "file_path": "a.png"},
        prepare=register("access_token", "alice"),
        media=tmp_path,
    )
    report.check()
