"""The publisher `mastodon` against a double with keys that follows Mastodon's documentation, and fails in every way.

`tests/peers` has a real server that forgets keys.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from everpost.platforms import Catalogue
from everpost.publishing import (
    AuthError,
    InvalidError,
    NeedsPersonError,
    NotFound,
    OutcomeUnknownError,
    PermanentError,
    PublisherClass,
    PublishError,
    PublishJob,
    PublishResult,
    RateLimitedError,
    Settings,
    SettingsError,
    TransientError,
)
from everpost.testing import AccountDouble
from everpost.testing.trial import Fault, try_publisher
from everpost_workers.publishers.mastodon import posting, server
from everpost_workers.publishers.mastodon.publisher import MastodonPublisher
from mastodon_double import TOKEN, MastodonDouble, shown
from publisher_kit import CuttingProxy, Response, cut_at_each, error_of_cut, failure_of, media_file, new_key, register

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 200
DATA = {"title": "Hello https://a.example/some/long/path/that/is/shortened", "tags": ["world"]}


@pytest.fixture
async def mastodon() -> AsyncIterator[MastodonDouble]:
    async with MastodonDouble().serve() as double:
        assert isinstance(double, MastodonDouble)
        yield double


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "PAUSE_S", 0.001)
    monkeypatch.setattr(server, "PAUSES_S", (0.001, 0.01))


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[MastodonPublisher]:
    given = {"url": url, "allow_http": True, "allow_private": True, **options}
    publisher = MastodonPublisher(given, Settings(max_jobs=1))
    try:
        yield publisher
    finally:
        await publisher.close()


@pytest.fixture
async def publisher(mastodon: MastodonDouble) -> AsyncIterator[MastodonPublisher]:
    async with opened(mastodon.url) as publisher:
        yield publisher


def alice(token: str = TOKEN) -> AccountDouble:
    return AccountDouble("alice", {"access_token": token})


def job_of(account: AccountDouble | None = None, **more: Any) -> PublishJob:
    data = more.pop("data", DATA)
    given = {"idempotency_key": "5" * 32, **more}
    platform = Catalogue.read().find("mastodon")
    return PublishJob(task_id="t1", data=data, platform=platform, account=account or alice(), **given)


def test_its_class_is_keyed_for_less_than_an_hour_then_checkable() -> None:
    publisher = MastodonPublisher({}, Settings())
    assert (publisher.publisher_class, publisher.can_look_up) == (PublisherClass.KEYED, True)
    assert publisher.key_lifetime_s is not None
    assert publisher.key_lifetime_s + Settings().job_timeout <= 3_600
    assert MastodonPublisher({"key_lifetime_s": 0}, Settings()).publisher_class is PublisherClass.CHECKABLE


async def test_a_status_has_what_the_task_says(mastodon: MastodonDouble, publisher: MastodonPublisher) -> None:
    data = {**DATA, "visibility": "unlisted", "spoiler_text": "careful", "sensitive": True, "language": "en"}
    result = await publisher.publish(job_of(data=data))
    (status,) = mastodon.statuses
    assert (result.provider_post_id, result.publish_url) == (status["id"], status["url"])
    assert mastodon.sources[status["id"]]["text"] == f"{DATA['title']}\n\n#world"
    assert {name: status[name] for name in ("visibility", "spoiler_text", "sensitive", "language")} == {
        "visibility": "unlisted",
        "spoiler_text": "careful",
        "sensitive": True,
        "language": "en",
    }


async def test_the_key_is_sent_and_a_repetition_is_one_status(
    mastodon: MastodonDouble, publisher: MastodonPublisher
) -> None:
    results = [await publisher.publish(job_of()) for _ in range(3)]  # without a checkpoint, only the key tells
    assert len({result.provider_post_id for result in results}) == 1
    assert len(mastodon.statuses) == 1
    sent = [request for request in mastodon.requests if request.method == "POST"]
    assert {request.headers["idempotency-key"] for request in sent} == {"5" * 32}


async def test_images_and_videos_are_attached_with_descriptions_when_they_are_processed(
    mastodon: MastodonDouble, publisher: MastodonPublisher, tmp_path: Path
) -> None:
    files = (
        media_file(tmp_path, 'a".png', PNG, "image/png", alt="a face"),
        media_file(tmp_path, "视频.mp4", b"video", "video/mp4"),
    )
    await publisher.publish(job_of(files=files))
    image, video = mastodon.statuses[0]["media_attachments"]
    assert (image["description"], video["description"]) == ("a face", None)
    assert [mastodon.media[item["id"]]["content"] for item in (image, video)] == [PNG, b"video"]
    assert video["url"] is not None


async def test_files_are_uploaded_once_unless_the_server_has_deleted_them(
    mastodon: MastodonDouble, publisher: MastodonPublisher, tmp_path: Path
) -> None:
    files = (media_file(tmp_path, "a.png", PNG, "image/png"),)
    mastodon.fail_next("/api/v1/statuses", Response(500))
    first = job_of(files=files)
    with pytest.raises(OutcomeUnknownError):
        await publisher.publish(first)
    mastodon.fail_next("/api/v1/statuses", Response(500))
    second = job_of(files=files, saved=first.saved)
    with pytest.raises(OutcomeUnknownError):
        await publisher.publish(second)
    assert mastodon.paths().count("POST /api/v2/media") == 1
    mastodon.forget_media()
    await publisher.publish(job_of(files=files, saved=second.saved))
    assert (mastodon.paths().count("POST /api/v2/media"), len(mastodon.statuses)) == (2, 1)


async def test_the_processing_of_a_file_is_waited_for_by_several_attempts(
    mastodon: MastodonDouble, tmp_path: Path
) -> None:
    files = (media_file(tmp_path, "v.mp4", b"video", "video/mp4"),)
    job = job_of(files=files)
    async with opened(mastodon.url, processing_wait_s=0.001) as publisher:
        with pytest.raises(TransientError, match="not processed"):
            await publisher.publish(job)
        mastodon.polls = 0
        await publisher.publish(job_of(files=files, saved=job.saved))
    assert mastodon.paths().count("POST /api/v2/media") == 1
    assert len(mastodon.statuses) == 1


async def test_a_file_that_cannot_be_processed_is_invalid(
    mastodon: MastodonDouble, publisher: MastodonPublisher, tmp_path: Path
) -> None:
    mastodon.fail_next("/api/v1/media/", Response(422, {"error": "Error processing media"}))
    with pytest.raises(InvalidError, match="Error processing media"):
        await publisher.publish(job_of(files=(media_file(tmp_path, "v.mp4", b"v", "video/mp4"),)))


async def sent_and_lost(
    mastodon: MastodonDouble, publisher: MastodonPublisher, data: dict[str, Any] | None = None
) -> PublishJob:
    """An attempt whose status was made, and whose answer was lost."""
    job = job_of(data=data or DATA)
    await publisher.publish(job)
    assert job.saved["sent_at_ms"] is not None
    return job


async def test_after_an_hour_the_status_is_found_among_the_accounts_own(
    mastodon: MastodonDouble, publisher: MastodonPublisher
) -> None:
    job = await sent_and_lost(mastodon, publisher)
    for number in range(100):
        await publisher.publish(job_of(data={"title": f"another {number}"}, idempotency_key=f"{number:032x}"))
    mastodon.ahead = timedelta(hours=2)
    found = await publisher.look_up(job_of(saved=job.saved))
    assert isinstance(found, PublishResult)
    assert found.provider_post_id == mastodon.statuses[0]["id"]


async def test_a_post_of_the_same_text_before_the_first_attempt_is_another(
    mastodon: MastodonDouble, publisher: MastodonPublisher
) -> None:
    mastodon.ahead = timedelta(minutes=-1)
    await publisher.publish(job_of(idempotency_key="1" * 32))
    mastodon.ahead = timedelta()
    mastodon.fail_next("/api/v1/statuses", Response(503))
    job = job_of()
    async with opened(mastodon.url) as another_worker:
        with pytest.raises(OutcomeUnknownError):
            await another_worker.publish(job)
        assert await another_worker.look_up(job) is NotFound.NOT_FOUND


async def test_a_server_whose_clock_is_wrong_is_looked_through_by_its_own_times(mastodon: MastodonDouble) -> None:
    mastodon.ahead = timedelta(hours=-3)
    async with opened(mastodon.url) as publisher:
        job = await sent_and_lost(mastodon, publisher)
        assert isinstance(await publisher.look_up(job), PublishResult)


async def test_a_status_whose_html_does_not_show_its_text_is_recognised_by_its_source(
    mastodon: MastodonDouble, publisher: MastodonPublisher
) -> None:
    job = await sent_and_lost(mastodon, publisher, {"text": "some *markdown* here"})
    mastodon.statuses[0]["content"] = "<p>some <em>markdown</em> here</p>"
    assert isinstance(await publisher.look_up(job), PublishResult)


async def test_a_look_up_through_too_many_statuses_gives_no_verdict(
    mastodon: MastodonDouble, publisher: MastodonPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "MOST_PAGES", 1)
    job = await sent_and_lost(mastodon, publisher)
    for number in range(41):
        mastodon.statuses.append({**mastodon.statuses[0], "id": f"9{number:020}", "content": "<p>other</p>"})
    assert await publisher.look_up(job) is NotFound.NO_VERDICT
    with pytest.raises(OutcomeUnknownError, match="does not list it"):
        await publisher.publish(job_of(saved=job.saved))


@pytest.mark.parametrize(("key_lifetime_s", "verdict"), [(3_300, NotFound.NOT_FOUND), (0, NotFound.NO_VERDICT)])
@pytest.mark.parametrize("is_default", [True, False])
async def test_a_hidden_post_that_a_server_without_keys_does_not_list_gives_no_verdict(
    mastodon: MastodonDouble, key_lifetime_s: float, verdict: NotFound, is_default: bool
) -> None:
    if is_default:
        mastodon.account = {**mastodon.account, "source": {"privacy": "private"}}
    data = DATA if is_default else {**DATA, "visibility": "direct"}
    async with opened(mastodon.url, key_lifetime_s=key_lifetime_s) as publisher:
        job = await sent_and_lost(mastodon, publisher, data)
        mastodon.statuses.clear()
        assert await publisher.look_up(job) is verdict


async def test_a_task_of_which_nothing_was_sent_is_not_found_without_a_question(
    mastodon: MastodonDouble, publisher: MastodonPublisher
) -> None:
    assert await publisher.look_up(job_of()) is NotFound.NOT_FOUND
    assert mastodon.requests == []


@pytest.mark.parametrize("remembers_keys", [True, False])
async def test_a_repetition_looks_before_it_sends_so_that_a_server_without_keys_gets_no_second_status(
    mastodon: MastodonDouble, publisher: MastodonPublisher, remembers_keys: bool
) -> None:
    mastodon.remembers_keys = remembers_keys
    job = await sent_and_lost(mastodon, publisher)
    result = await publisher.publish(job_of(saved=job.saved, attempt=2))
    assert (len(mastodon.statuses), result.provider_post_id) == (1, mastodon.statuses[0]["id"])
    assert mastodon.paths().count("POST /api/v1/statuses") == 1


@pytest.mark.parametrize("answer", [Response(502), Response(200), Response(200, {"odd": True})])
async def test_a_repetition_that_cannot_look_sends_nothing(
    mastodon: MastodonDouble, publisher: MastodonPublisher, answer: Response
) -> None:
    job = await sent_and_lost(mastodon, publisher)
    mastodon.fail_next("/api/v1/accounts/107/statuses", answer)
    with pytest.raises(OutcomeUnknownError, match="may have posted it"):
        await publisher.publish(job_of(saved=job.saved, attempt=2))
    assert mastodon.paths().count("POST /api/v1/statuses") == 1


async def test_a_changed_task_whose_first_text_was_posted_is_not_posted_again(
    mastodon: MastodonDouble, publisher: MastodonPublisher
) -> None:
    job = await sent_and_lost(mastodon, publisher)
    await publisher.publish(job_of(data={"title": "changed"}, saved=job.saved, attempt=2))
    assert len(mastodon.statuses) == 1


@pytest.mark.parametrize(
    ("path", "status", "error", "expected"),
    [
        ("/verify_credentials", 401, "The access token is invalid", AuthError),
        ("/verify_credentials", 403, "Your login is missing a confirmed e-mail address", NeedsPersonError),
        ("/verify_credentials", 422, None, AuthError),
        ("/verify_credentials", 503, None, TransientError),
        ("/instance", 500, None, TransientError),
        ("/media", 422, "Validation failed: File content type is invalid", InvalidError),
        ("/media", 500, "Error processing thumbnail for uploaded media", TransientError),
        ("/statuses", 401, "The access token is invalid", AuthError),
        ("/statuses", 403, "This action is outside the authorized scopes", AuthError),
        ("/statuses", 404, "Record not found", PermanentError),
        ("/statuses", 422, "Validation failed: Text can't be blank", InvalidError),
        ("/statuses", 500, None, OutcomeUnknownError),
        ("/statuses", 504, None, OutcomeUnknownError),
        ("/statuses", 200, None, OutcomeUnknownError),  # cut off, or of something before the server
    ],
)
async def test_a_refusal_has_its_meaning(
    mastodon: MastodonDouble,
    publisher: MastodonPublisher,
    tmp_path: Path,
    path: str,
    status: int,
    error: str | None,
    expected: type[PublishError],
) -> None:
    mastodon.fail_next(path, Response(status, error and {"error": error}))
    job = job_of(files=(media_file(tmp_path, "a.png", PNG, "image/png"),))
    assert (error or str(status)) in str(await failure_of(publisher.publish(job), expected, TOKEN))
    assert mastodon.statuses == []


@pytest.mark.parametrize(
    ("headers", "least_s", "most_s"),
    [
        (lambda: {"Retry-After": "7"}, 7, 7),
        (lambda: {"X-RateLimit-Reset": shown(datetime.now(UTC) + timedelta(minutes=15))}, 600, 900),
        (lambda: {"X-RateLimit-Reset": "tomorrow"}, 60, 60),
        (lambda: {"X-RateLimit-Reset": shown(datetime.now(UTC) - timedelta(minutes=15))}, 1, 1),
    ],
)
@pytest.mark.parametrize("path", ["/verify_credentials", "/statuses"])
async def test_a_rate_limit_says_when_to_come_again(
    mastodon: MastodonDouble,
    publisher: MastodonPublisher,
    path: str,
    headers: Callable[[], dict[str, str]],
    least_s: float,
    most_s: float,
) -> None:
    mastodon.fail_next(path, Response(429, {"error": "Too many requests"}, headers()))
    with pytest.raises(RateLimitedError) as caught:
        await publisher.publish(job_of())
    assert caught.value.retry_after_s is not None
    assert least_s <= caught.value.retry_after_s <= most_s


async def test_a_rate_limit_without_a_time_is_a_minute(mastodon: MastodonDouble, publisher: MastodonPublisher) -> None:
    mastodon.fail_next("/statuses", Response(429))
    with pytest.raises(RateLimitedError) as caught:
        await publisher.publish(job_of())
    assert caught.value.retry_after_s == 60


async def test_a_server_that_is_away_says_when_to_come_again_unless_it_may_have_posted(
    mastodon: MastodonDouble, publisher: MastodonPublisher
) -> None:
    mastodon.fail_next("/verify_credentials", Response(503, None, {"Retry-After": "9"}))
    with pytest.raises(RateLimitedError) as caught:
        await publisher.publish(job_of())
    assert caught.value.retry_after_s == 9
    mastodon.fail_next("/statuses", Response(503, None, {"Retry-After": "9"}))
    with pytest.raises(OutcomeUnknownError):
        await publisher.publish(job_of())


@pytest.mark.parametrize(
    ("path", "expected"), [("/api/v1/statuses", OutcomeUnknownError), ("/verify_credentials", TransientError)]
)
@pytest.mark.parametrize("fault", [Response(delay_s=30), Response(hangs_up=True)])
async def test_a_late_or_broken_answer_leaves_open_only_what_may_have_been_posted(
    mastodon: MastodonDouble, path: str, expected: type[PublishError], fault: Response
) -> None:
    mastodon.fail_next(path, fault)
    async with opened(mastodon.url, timeout_s=1.0 if fault.delay_s else 30.0) as publisher:
        await failure_of(publisher.publish(job_of()), expected, TOKEN)


async def test_an_account_is_checked_by_its_server(mastodon: MastodonDouble, publisher: MastodonPublisher) -> None:
    assert (await publisher.check_account(alice())).startswith("alice on 127.0.0.1")
    with pytest.raises(AuthError):
        await publisher.check_account(alice("another token"))
    with pytest.raises(AuthError, match="no credential named access_token"):
        await publisher.check_account(AccountDouble("alice", {}))


async def test_the_server_is_the_accounts_own_or_the_one_in_its_id(mastodon: MastodonDouble) -> None:
    own = AccountDouble("alice", {"access_token": TOKEN}, {"url": mastodon.url})
    async with opened("") as publisher:
        await publisher.publish(job_of(own))
        with pytest.raises(InvalidError, match="option url"):
            await publisher.publish(job_of())
        with pytest.raises(TransientError, match="no-such-server"):
            await publisher.publish(job_of(AccountDouble("@alice@no-such-server.invalid", {"access_token": TOKEN})))
    assert len(mastodon.statuses) == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"url": "mastodon.example"}, "https://"),
        ({"url": "http://mastodon.example"}, "unless allow_http"),
        ({"key_lifetime_s": -1}, "key_lifetime_s"),
        ({"token": "x"}, "token"),
    ],
)
def test_wrong_options_are_found_at_the_start(options: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        MastodonPublisher(options, Settings())


async def break_at_each(mastodon: MastodonDouble, folder: Path, step: int) -> None:
    """Break the connection after every so many bytes of the exchange; look, and try again until it is posted."""
    files = (media_file(folder, "a.png", PNG, "image/png"),)
    async with (
        CuttingProxy(mastodon.port).serve() as proxy,
        opened(proxy.url) as first,
        opened(proxy.url) as publisher,
    ):

        async def cut_once(cut: int) -> None:
            mastodon.statuses.clear()
            job = job_of(files=files, idempotency_key=f"{cut:032x}")
            error = await error_of_cut(proxy, cut, publisher.publish(job), lambda: bool(mastodon.statuses))
            if isinstance(error, OutcomeUnknownError):
                was_posted = bool(mastodon.statuses)
                found = await publisher.look_up(job)
                assert isinstance(found, PublishResult) or not was_posted, cut
            if error is not None:
                again = job_of(files=files, idempotency_key=job.idempotency_key, saved=job.saved, attempt=2)
                await publisher.publish(again)
            assert len(mastodon.statuses) == 1, cut
            publisher._poster.opened._known.clear()  # type: ignore[union-attr]  # it is open

        await cut_at_each(proxy, first.publish(job_of(files=files, idempotency_key="whole")), cut_once, step)


@pytest.mark.parametrize("remembers_keys", [True, False])
async def test_a_connection_that_breaks_makes_no_second_status(
    mastodon: MastodonDouble, tmp_path: Path, remembers_keys: bool
) -> None:
    mastodon.remembers_keys = remembers_keys
    await break_at_each(mastodon, tmp_path, step=197)


@pytest.mark.chaos
@pytest.mark.parametrize("remembers_keys", [True, False])
async def test_a_connection_that_breaks_at_any_byte_makes_no_second_status(
    mastodon: MastodonDouble, tmp_path: Path, remembers_keys: bool
) -> None:
    mastodon.remembers_keys = remembers_keys
    await break_at_each(mastodon, tmp_path, step=1)


@pytest.mark.chaos
@pytest.mark.usefixtures("both_stores")
@pytest.mark.parametrize("key_lifetime_s", [3_300, 0])
async def test_it_keeps_its_class_at_every_step(
    mastodon: MastodonDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key_lifetime_s: float
) -> None:
    monkeypatch.setenv("EVERPOST_ACCOUNT_TRIAL", TOKEN)
    (tmp_path / "a.png").write_bytes(PNG)
    mastodon.remembers_keys = bool(key_lifetime_s)

    async def texts() -> list[str]:
        return [mastodon.sources[status["id"]]["text"] for status in mastodon.statuses]

    report = await try_publisher(
        MastodonPublisher,
        posts=texts,
        platform_at=("127.0.0.1", mastodon.port),
        options=lambda address: {
            "url": f"http://{address}",
            "key_lifetime_s": key_lifetime_s,
            "timeout_s": 5,
            "allow_http": True,
            "allow_private": True,
        },
        fields={"account_id": "alice.test", "file_path": "a.png"},
        prepare=register("access_token"),
        media=tmp_path,
        cuts=1,  # the tests above cut at every byte
        secret_key=new_key(),
    )
    report.check()
    assert {finding.step.fault for finding in report.findings} == set(Fault) - {Fault.KILL_AMID}
