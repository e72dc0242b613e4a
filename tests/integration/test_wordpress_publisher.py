"""The publisher `wordpress` against a double of its REST API; `tests/peers` has the real WordPress."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from command_kit import KEY, SETTINGS, KeptCheckpoints
from everpost.platforms import Catalogue
from everpost.publishing import (
    AuthError,
    InvalidError,
    NotFound,
    OutcomeUnknownError,
    PermanentError,
    PublishError,
    PublishJob,
    PublishResult,
    RateLimitedError,
    TransientError,
)
from everpost.testing import AccountDouble, Stack
from everpost.testing.trial import Fault, try_publisher
from everpost_workers.publishers.wordpress.publisher import WordPressPublisher
from publisher_kit import CuttingProxy, Response, cut_at_each, error_of_cut, failure_of, media_file
from wordpress_double import PASSWORD, USER, WordPressDouble, refusal

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 200
DATA = {"title": "Hello world", "tags": ["one"]}


@pytest.fixture
async def site() -> AsyncIterator[WordPressDouble]:
    site = WordPressDouble()
    async with site.http.serve():
        yield site


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[WordPressPublisher]:
    publisher = WordPressPublisher({"allow_http": True, "allow_private": True, **options}, SETTINGS)
    try:
        yield publisher
    finally:
        await publisher.close()


@pytest.fixture
async def publisher() -> AsyncIterator[WordPressPublisher]:
    async with opened() as publisher:
        yield publisher


def job_at(url: str, data: Mapping[str, Any] = DATA, *, password: str = PASSWORD, **fields: Any) -> PublishJob:
    account = AccountDouble("main", {"username": USER, "password": password}, {"url": url})
    given = {"account": account, "keeper": KeptCheckpoints(), "idempotency_key": KEY, **fields}
    return PublishJob(task_id="t1", data=data, platform=Catalogue.read().find("wordpress"), **given)


async def test_a_post_is_made_as_a_draft_with_its_files_and_then_published(
    site: WordPressDouble, publisher: WordPressPublisher, tmp_path: Path
) -> None:
    files = tuple(media_file(tmp_path, f"{name}.png", PNG, "image/png", alt=name) for name in ("a", "b"))
    job = job_at(site.http.url, {**DATA, "text": "<p>Hello</p>", "slug": "mine", "categories": ["News"]}, files=files)
    result = await publisher.publish(job)
    ((number, post),) = site.posts.items()
    assert (result.provider_post_id, result.publish_url) == (str(number), post["link"])
    assert (post["status"], post["slug"], post["featured_media"]) == ("publish", "mine", min(site.files))
    assert 'alt="b"' in post["content"]
    assert list(site.terms) == [("categories", "News"), ("tags", "one")]
    assert site.publications == 1


@pytest.mark.parametrize(
    ("fault", "expected", "seconds"),
    [
        (Response(429, headers={"Retry-After": "7"}), RateLimitedError, 7),
        (Response(429), RateLimitedError, 60),
        (Response(503, headers={"Retry-After": "5"}), RateLimitedError, 5),
        (Response(500), TransientError, None),
        (Response(502), TransientError, None),
        (Response(hangs_up=True), TransientError, None),
        (Response(200, {}, delay_s=30), TransientError, None),
        (Response(201, {"odd": True}), TransientError, None),
        (refusal(401, "incorrect_password", "revoked"), AuthError, None),
        (refusal(403, "rest_cannot_create", "no"), AuthError, None),
        (refusal(400, "rest_invalid_param", "Invalid parameter(s)"), InvalidError, None),
        (Response(413), InvalidError, None),
        (Response(301), PermanentError, None),
    ],
)
async def test_a_fault_before_the_draft_has_its_class_and_is_gone_afterwards(
    site: WordPressDouble, fault: Response, expected: type[PublishError], seconds: float | None
) -> None:
    async with opened(timeout_s=0.5 if fault.delay_s else 30) as publisher:
        site.http.fail_next("/", Response(200, []), fault)  # the look for a draft, and the tag
        job = job_at(site.http.url, {"title": "No tags"})
        error = await failure_of(publisher.publish(job), expected, PASSWORD)
        assert error.retry_after_s == seconds
        await publisher.publish(job)
    assert site.publications == 1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Response(429, headers={"Retry-After": "7"}), RateLimitedError),
        (Response(429), RateLimitedError),
        (Response(500), OutcomeUnknownError),
        (Response(504), OutcomeUnknownError),
        (Response(hangs_up=True), OutcomeUnknownError),
        (Response(200, {}, delay_s=30), OutcomeUnknownError),
        (Response(200), OutcomeUnknownError),  # cut off, or of something before the site
        (Response(200, {"id": 2, "status": "publish"}), OutcomeUnknownError),
        (refusal(401, "incorrect_password", "revoked"), AuthError),
    ],
)
async def test_a_fault_while_it_is_published_leaves_open_only_what_may_have_been_published(
    site: WordPressDouble, fault: Response, expected: type[PublishError]
) -> None:
    async with opened(timeout_s=0.5 if fault.delay_s else 30) as publisher:
        job = job_at(site.http.url, {"title": "No tags"})
        draft = {"id": 1, "link": "http://site.example/?p=1", "title": "No tags", "slug": f"everpost-{KEY}"}
        site.posts[1] = {**draft, "status": "draft"}
        site.http.fail_next("/", Response(200, [draft]), fault)
        await failure_of(publisher.publish(job), expected, PASSWORD)
        assert await publisher.look_up(job) is NotFound.NOT_FOUND
        await publisher.publish(job)
        assert isinstance(await publisher.look_up(job), PublishResult)
    assert (len(site.posts), site.publications) == (1, 1)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Response(429, headers={"Retry-After": "7"}), RateLimitedError),  # of a server before the site: not JSON
        (Response(401), AuthError),
        (Response(502), TransientError),
        (Response(400), TransientError),  # that a tag exists, cut off
        (Response(201), TransientError),
        (refusal(400, "rest_invalid_param", "Invalid parameter(s)"), InvalidError),
        (refusal(400, "term_exists", "exists"), PermanentError),
    ],
)
async def test_a_refusal_of_a_tag_has_the_class_of_its_status(
    site: WordPressDouble, publisher: WordPressPublisher, fault: Response, expected: type[PublishError]
) -> None:
    job = job_at(site.http.url)
    site.http.fail_next("/", Response(200, []), fault)  # the look for a draft, and the tag
    error = await failure_of(publisher.publish(job), expected, PASSWORD)
    assert error.retry_after_s == (7 if expected is RateLimitedError else None)
    await publisher.publish(job)
    assert (len(site.posts), site.publications) == (1, 1)


async def test_an_odd_answer_to_the_look_for_a_draft_makes_no_second_draft(
    site: WordPressDouble, publisher: WordPressPublisher
) -> None:
    job = job_at(site.http.url, {"title": "No tags"})
    site.http.fail_next("/", Response(200, []), Response(500))  # the draft is not made, as far as is known
    await failure_of(publisher.publish(job), TransientError, PASSWORD)
    site.http.fail_next("/", Response(200, {"odd": True}))
    await failure_of(publisher.publish(job), TransientError, PASSWORD)
    assert site.posts == {}


async def test_a_post_in_the_trash_is_not_published_again(site: WordPressDouble, publisher: WordPressPublisher) -> None:
    job = job_at(site.http.url)
    await publisher.publish(job)
    (post,) = site.posts.values()
    post["status"] = "trash"
    assert await publisher.look_up(job) is NotFound.NO_VERDICT


async def test_a_password_that_was_revoked_holds_the_account(
    site: WordPressDouble, publisher: WordPressPublisher
) -> None:
    with pytest.raises(AuthError):
        await publisher.publish(job_at(site.http.url, password="revoked-secret"))
    assert site.posts == {}


async def break_at_each(site: WordPressDouble, folder: Path, step: int) -> None:
    """Break the connection after every so many bytes of the exchange; look, and try again until it is published."""
    files = (media_file(folder, "a.png", PNG, "image/png", alt="a"),)
    async with CuttingProxy(site.http.port).serve() as proxy, opened() as publisher:

        async def cut_once(cut: int) -> None:
            site.posts.clear()
            site.terms.clear()
            site.publications = 0
            job = job_at(proxy.url, files=files)
            error = await error_of_cut(proxy, cut, publisher.publish(job), lambda: bool(site.publications))
            if error is not None:
                found = await publisher.look_up(job)
                assert isinstance(found, PublishResult) == bool(site.publications), cut
                if found is NotFound.NOT_FOUND:
                    await publisher.publish(job)
            assert [post["status"] for post in site.posts.values()] == ["publish"], cut
            assert site.publications == 1, cut

        await cut_at_each(proxy, publisher.publish(job_at(proxy.url, files=files)), cut_once, step)


async def test_a_connection_that_breaks_makes_one_post(site: WordPressDouble, tmp_path: Path) -> None:
    await break_at_each(site, tmp_path, step=197)


@pytest.mark.chaos
async def test_a_connection_that_breaks_at_any_byte_makes_one_post(site: WordPressDouble, tmp_path: Path) -> None:
    await break_at_each(site, tmp_path, step=1)


@pytest.mark.chaos
@pytest.mark.usefixtures("both_stores")
async def test_it_keeps_its_class_at_every_step(
    site: WordPressDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERPOST_ACCOUNT_WORDPRESS", PASSWORD)
    monkeypatch.setenv("EVERPOST_ACCOUNT_WORDPRESS_USER", USER)
    (tmp_path / "a.png").write_bytes(PNG)

    async def add_account(stack: Stack) -> None:
        references = {"username": "env:EVERPOST_ACCOUNT_WORDPRESS_USER", "password": "env:EVERPOST_ACCOUNT_WORDPRESS"}
        body = {"platform": "trial", "account_id": "account", "credentials": references}
        answer = await stack.client.post("/api/v1/accounts", json=body)
        assert answer.is_success, answer.text

    async def published() -> list[str]:
        return [post["title"] for post in site.posts.values() if post["status"] == "publish"]

    report = await try_publisher(
        "wordpress",
        posts=published,
        options=lambda address: {"url": f"http://{address}", "allow_http": True, "allow_private": True},
        platform_at=("127.0.0.1", site.http.port),
        fields={"file_path": "a.png"},
        prepare=add_account,
        media=tmp_path,
        cuts=1,  # the tests above cut at every byte
        max_attempts=6,
    )
    report.check()
    assert {finding.step.fault for finding in report.findings} == set(Fault) - {Fault.KILL_AMID}
    assert site.publications == len(site.posts)
