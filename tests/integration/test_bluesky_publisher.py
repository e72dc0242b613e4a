"""The publisher `bluesky` against a double of a PDS that fails in every way; `tests/peers` has the real one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from everpost.clock import system_clock
from everpost.platforms import Catalogue
from everpost.publishing import (
    AccountBlockedError,
    AuthError,
    InvalidError,
    NeedsPersonError,
    NotFound,
    OutcomeUnknownError,
    PermanentError,
    PublishError,
    PublishJob,
    RateLimitedError,
    Settings,
    SettingsError,
    TransientError,
)
from everpost.task.model import new_task_id
from everpost.testing import AccountDouble
from everpost.testing.trial import Fault, try_publisher
from everpost_workers.publishers.bluesky import video
from everpost_workers.publishers.bluesky.publisher import BlueskyPublisher
from pds_double import DID, PASSWORD, PdsDouble
from publisher_kit import CuttingProxy, Response, cut_at_each, error_of_cut, failure_of, media_file, new_key, register

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 200
TASK_ID = new_task_id(system_clock())


@pytest.fixture
async def pds() -> AsyncIterator[PdsDouble]:
    async with PdsDouble().serve() as double:
        assert isinstance(double, PdsDouble)
        yield double


@asynccontextmanager
async def opened(double: PdsDouble, **options: Any) -> AsyncIterator[BlueskyPublisher]:
    given = {"service": double.url, "video_service": double.url, "allow_http": True, "allow_private": True, **options}
    publisher = BlueskyPublisher(given, Settings(max_jobs=1))
    try:
        yield publisher
    finally:
        await publisher.close()


@pytest.fixture
async def publisher(pds: PdsDouble) -> AsyncIterator[BlueskyPublisher]:
    async with opened(pds) as publisher:
        yield publisher


def alice(**secrets: str) -> AccountDouble:
    return AccountDouble("alice.test", {"password": PASSWORD, **secrets})


def job_of(account: AccountDouble, **more: Any) -> PublishJob:
    """A task's attempt; give `saved` of an earlier one for another."""
    given = {"data": {"title": "Hello #world"}, "idempotency_key": "5" * 32, **more}
    return PublishJob(task_id=TASK_ID, platform=Catalogue.read().find("bluesky"), account=account, **given)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "PAUSES_S", (0.001, 0.01))


def the_record(pds: PdsDouble) -> dict[str, Any]:
    """The one record there is."""
    ((value, _),) = pds.records.values()
    assert isinstance(value, dict)
    return value


async def test_a_post_has_its_facets_with_handles_resolved(pds: PdsDouble, publisher: BlueskyPublisher) -> None:
    result = await publisher.publish(job_of(alice(), data={"text": "测试 @bob.test https://a.example #tag @no.test"}))
    (key,) = pds.records
    assert result.provider_post_id == f"at://{DID}/app.bsky.feed.post/{key}"
    assert result.publish_url == f"https://bsky.app/profile/{DID}/post/{key}"
    found = [facet["features"][0] for facet in the_record(pds)["facets"]]
    assert [feature.get("did") or feature.get("uri") or feature.get("tag") for feature in found] == [
        "did:plc:bob",
        "https://a.example",
        "tag",
    ]


async def test_however_often_a_task_is_sent_there_is_one_record_and_one_commit(
    pds: PdsDouble, publisher: BlueskyPublisher
) -> None:
    account = alice()
    first = job_of(account)
    results = [await publisher.publish(first)]
    results += [await publisher.publish(job_of(account, saved=first.saved, attempt=2)) for _ in range(3)]
    assert len({result.provider_post_id for result in results}) == 1
    assert (len(pds.records), pds.commits) == (1, 1)
    sent = {request.body for request in pds.requests if request.path.endswith("putRecord")}
    assert len(sent) == 1  # the same record, with its time


async def test_a_task_that_was_changed_after_it_may_have_been_sent_leaves_the_post_as_it_is(
    pds: PdsDouble, publisher: BlueskyPublisher
) -> None:
    account = alice()
    first = job_of(account)
    await publisher.publish(first)
    result = await publisher.publish(job_of(account, saved=first.saved, data={"title": "changed"}))
    assert result.provider_post_id is not None
    assert (the_record(pds)["text"], pds.commits) == ("Hello #world", 1)


async def test_a_post_whose_checkpoint_was_lost_is_recognised(pds: PdsDouble, publisher: BlueskyPublisher) -> None:
    account = alice()
    first = await publisher.publish(job_of(account))
    pds.records = {
        key: ({**value, "createdAt": "2026-01-01T00:00:00.000Z"}, "x") for key, (value, _) in pds.records.items()
    }
    assert (await publisher.publish(job_of(account))).provider_post_id == first.provider_post_id
    assert pds.commits == 1


async def test_a_record_of_something_else_under_the_key_is_never_overwritten(
    pds: PdsDouble, publisher: BlueskyPublisher
) -> None:
    await publisher.publish(job_of(alice()))
    (key,) = pds.records
    pds.records[key] = ({"text": "another", "createdAt": "2020-01-01T00:00:00.000Z"}, "another")
    with pytest.raises(PermanentError, match="left as it is"):
        await publisher.publish(job_of(alice()))
    assert the_record(pds)["text"] == "another"


async def test_images_are_uploaded_once_with_their_descriptions(
    pds: PdsDouble, publisher: BlueskyPublisher, tmp_path: Path
) -> None:
    files = tuple(
        media_file(tmp_path, f"{name}.png", PNG + name.encode(), "image/png", alt=f"an {name}") for name in ("a", "b")
    )
    pds.fail_next("putRecord", Response(503))
    first = job_of(alice(), files=files)
    with pytest.raises(OutcomeUnknownError):
        await publisher.publish(first)
    await publisher.publish(job_of(alice(), files=files, saved=first.saved, attempt=2))
    images = the_record(pds)["embed"]["images"]
    assert [image["alt"] for image in images] == ["an a", "an b"]
    assert [image["image"]["size"] for image in images] == [len(PNG) + 1] * 2
    assert pds.count("uploadBlob") == 2


async def test_files_that_the_server_has_lost_are_uploaded_again(
    pds: PdsDouble, publisher: BlueskyPublisher, tmp_path: Path
) -> None:
    files = (media_file(tmp_path, "a.png", PNG, "image/png"),)
    pds.fail_next("putRecord", Response(503))
    first = job_of(alice(), files=files)
    with pytest.raises(OutcomeUnknownError):
        await publisher.publish(first)
    pds.blobs.clear()
    await publisher.publish(job_of(alice(), files=files, saved=first.saved, attempt=2))
    assert (len(pds.records), pds.count("uploadBlob")) == (1, 2)


async def test_a_file_that_changes_while_it_is_uploaded_is_not_posted(
    pds: PdsDouble, publisher: BlueskyPublisher, tmp_path: Path
) -> None:
    media = media_file(tmp_path, "a.png", PNG, "image/png")
    media.path.write_bytes(PNG[:-1])
    with pytest.raises(TransientError, match="changed while"):
        await publisher.publish(job_of(alice(), files=(media,)))
    assert pds.records == {}


async def test_a_video_is_prepared_by_the_service_and_its_job_goes_on_after_a_failure(
    pds: PdsDouble, tmp_path: Path
) -> None:
    files = (media_file(tmp_path, "v.mp4", b"video", "video/mp4", alt="a clip"),)
    account = alice()
    async with opened(pds, video_wait_s=0.001) as impatient:
        first = job_of(account, files=files)
        with pytest.raises(TransientError, match="not prepared the video yet"):
            await impatient.publish(first)
    async with opened(pds) as publisher:
        await publisher.publish(job_of(account, files=files, saved=first.saved, attempt=2))
    embed = the_record(pds)["embed"]
    assert (embed["$type"], embed["alt"], embed["video"]["size"]) == ("app.bsky.embed.video", "a clip", 5)
    assert (pds.count("uploadVideo"), pds.count("uploadBlob")) == (1, 0)


async def test_a_video_that_was_prepared_before_is_used_as_it_is(
    pds: PdsDouble, publisher: BlueskyPublisher, tmp_path: Path
) -> None:
    files = (media_file(tmp_path, "v.mp4", b"video", "video/mp4"),)
    pds.polls = 0
    await publisher.publish(job_of(alice(), files=files))
    pds.records.clear()
    await publisher.publish(job_of(alice(), files=files))
    assert pds.count("uploadVideo") == 2
    assert the_record(pds)["embed"]["video"]["size"] == 5


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        ({"failureCode": "validation_failure", "message": "not a video"}, InvalidError),
        ({"failureCode": "generic_failure"}, TransientError),
    ],
)
async def test_a_video_that_cannot_be_prepared_is_uploaded_anew_by_the_next_attempt(
    pds: PdsDouble,
    publisher: BlueskyPublisher,
    tmp_path: Path,
    failure: dict[str, str],
    expected: type[PublishError],
) -> None:
    files = (media_file(tmp_path, "v.mp4", b"video", "video/mp4"),)
    pds.polls, pds.video_failure = 0, failure
    job = job_of(alice(), files=files)
    with pytest.raises(expected, match=failure.get("message", "generic_failure")):
        await publisher.publish(job)
    assert job.saved["video_job"] is None


async def test_without_a_video_service_the_video_goes_to_the_server(pds: PdsDouble, tmp_path: Path) -> None:
    async with opened(pds, video_service="") as publisher:
        await publisher.publish(job_of(alice(), files=(media_file(tmp_path, "v.mp4", b"video", "video/mp4"),)))
    assert (pds.count("uploadVideo"), pds.count("uploadBlob")) == (0, 1)


async def test_one_session_serves_many_posts_and_is_kept_for_other_workers(pds: PdsDouble) -> None:
    account = alice()
    for _ in range(2):  # each is a worker
        async with opened(pds) as publisher:
            await asyncio.gather(*(publisher.publish(job_of(account)) for _ in range(5)))
    assert len(pds.records) == 1
    assert (pds.count("createSession"), pds.count("refreshSession")) == (1, 0)


async def test_an_expired_session_is_refreshed_and_the_rotated_tokens_are_stored(
    pds: PdsDouble, publisher: BlueskyPublisher
) -> None:
    account = alice()
    await publisher.publish(job_of(account))
    before = account.stored["refresh_jwt"]
    pds.expire_access()
    await publisher.publish(job_of(account))
    assert (pds.count("createSession"), pds.count("refreshSession"), pds.commits) == (1, 1, 1)
    assert account.stored["refresh_jwt"] != before


async def test_workers_whose_session_expired_do_not_refresh_it_twice(pds: PdsDouble) -> None:
    account = alice()
    async with opened(pds) as one, opened(pds) as other:
        await one.publish(job_of(account))
        await other.publish(job_of(account))
        pds.expire_access()
        await asyncio.gather(*(worker.publish(job_of(account)) for worker in (one, other) for _ in range(3)))
    assert (pds.count("createSession"), pds.count("refreshSession")) == (1, 1)


async def test_a_token_that_ends_soon_is_renewed_before_it_is_used(pds: PdsDouble, publisher: BlueskyPublisher) -> None:
    account = alice()
    pds.token_lifetime_s = 60
    await publisher.publish(job_of(account))
    pds.token_lifetime_s = 7_200
    await publisher.publish(job_of(account))
    assert pds.count("refreshSession") == 1


async def test_a_session_that_cannot_be_refreshed_is_replaced_by_a_new_one(
    pds: PdsDouble, publisher: BlueskyPublisher
) -> None:
    account = alice()
    await publisher.publish(job_of(account))
    pds.expire_all()
    await publisher.publish(job_of(account))
    assert (pds.count("createSession"), len(pds.records)) == (2, 1)


@pytest.mark.parametrize(
    ("method", "status", "answer", "expected"),
    [
        ("createSession", 401, {"error": "AuthenticationRequired"}, AuthError),
        ("createSession", 401, {"error": "AuthFactorTokenRequired"}, NeedsPersonError),
        ("createSession", 401, {"error": "AccountTakedown", "message": "gone"}, AccountBlockedError),
        ("createSession", 400, {"error": "InvalidRequest"}, InvalidError),
        ("createSession", 502, None, TransientError),
        ("createSession", 200, {"did": DID}, AuthError),
        ("uploadBlob", 413, {"error": "PayloadTooLarge"}, InvalidError),
        ("uploadBlob", 500, None, TransientError),
        ("uploadBlob", 503, None, TransientError),
        ("uploadBlob", 200, {}, TransientError),
        ("putRecord", 400, {"error": "InvalidRequest", "message": "Invalid app.bsky.feed.post record"}, InvalidError),
        ("putRecord", 403, {"error": "Forbidden"}, AuthError),
        ("putRecord", 302, None, PermanentError),
        ("putRecord", 500, {"error": "InternalServerError"}, OutcomeUnknownError),
        ("putRecord", 503, None, OutcomeUnknownError),
        ("putRecord", 200, None, OutcomeUnknownError),  # cut off, or of something before the server
    ],
)
async def test_a_refusal_has_its_meaning(
    pds: PdsDouble,
    publisher: BlueskyPublisher,
    tmp_path: Path,
    method: str,
    status: int,
    answer: Any,
    expected: type[PublishError],
) -> None:
    pds.fail_next(method, Response(status, answer))
    job = job_of(alice(), files=(media_file(tmp_path, "a.png", PNG, "image/png"),))
    await failure_of(publisher.publish(job), expected, PASSWORD)


@pytest.mark.parametrize(
    ("headers", "least_s", "most_s"),
    [
        (lambda: {"Retry-After": "7"}, 7, 7),
        (lambda: {"RateLimit-Reset": str(system_clock() // 1000 + 900)}, 600, 900),
        (dict, 60, 60),
        (lambda: {"RateLimit-Reset": "soon"}, 60, 60),
        (lambda: {"RateLimit-Reset": "9" * 40}, 86_400, 86_400),
    ],
)
@pytest.mark.parametrize("method", ["createSession", "putRecord"])
async def test_a_rate_limit_says_when_to_come_again(
    pds: PdsDouble,
    publisher: BlueskyPublisher,
    method: str,
    headers: Callable[[], dict[str, str]],
    least_s: float,
    most_s: float,
) -> None:
    pds.fail_next(method, Response(429, {"error": "RateLimitExceeded"}, headers()))
    with pytest.raises(RateLimitedError) as caught:
        await publisher.publish(job_of(alice()))
    assert caught.value.retry_after_s is not None
    assert least_s <= caught.value.retry_after_s <= most_s


async def test_a_server_that_is_away_says_when_to_come_again_unless_it_may_have_posted(
    pds: PdsDouble, publisher: BlueskyPublisher
) -> None:
    pds.fail_next("createSession", Response(503, None, {"Retry-After": "9"}))
    with pytest.raises(RateLimitedError) as caught:
        await publisher.publish(job_of(alice()))
    assert caught.value.retry_after_s == 9
    pds.fail_next("putRecord", Response(503, None, {"Retry-After": "9"}))
    with pytest.raises(OutcomeUnknownError):
        await publisher.publish(job_of(alice()))


@pytest.mark.parametrize(
    ("method", "expected"), [("putRecord", OutcomeUnknownError), ("createSession", TransientError)]
)
@pytest.mark.parametrize("fault", [Response(delay_s=30), Response(hangs_up=True)])
async def test_a_late_or_broken_answer_leaves_open_only_what_may_have_been_posted(
    pds: PdsDouble, method: str, expected: type[PublishError], fault: Response
) -> None:
    pds.fail_next(method, fault)
    async with opened(pds, timeout_s=1.0 if fault.delay_s else 30.0) as publisher:
        await failure_of(publisher.publish(job_of(alice())), expected, PASSWORD)


async def test_a_look_up_finds_the_record_or_says_that_there_is_none(
    pds: PdsDouble, publisher: BlueskyPublisher
) -> None:
    job = job_of(alice())
    assert await publisher.look_up(job) is NotFound.NOT_FOUND
    result = await publisher.publish(job)
    assert await publisher.look_up(job) == result
    pds.fail_next("getRecord", Response(500))
    with pytest.raises(TransientError):
        await publisher.look_up(job)


async def test_an_account_is_checked_by_its_server(pds: PdsDouble, publisher: BlueskyPublisher) -> None:
    assert await publisher.check_account(alice()) == f"alice.test ({DID})"
    wrong = AccountDouble("other", {"password": "wrong"}, {"identifier": "alice.test"})
    with pytest.raises(AuthError):
        await publisher.check_account(wrong)
    with pytest.raises(AuthError, match="no credential named password"):
        await publisher.check_account(AccountDouble("alice.test", {}))


async def test_an_account_whose_server_is_private_is_not_reached_unless_that_is_permitted(pds: PdsDouble) -> None:
    account = AccountDouble("alice.test", {"password": PASSWORD}, {"service": pds.url})
    async with opened(pds, allow_private=False) as publisher:
        with pytest.raises(PermanentError, match="not global"):
            await publisher.publish(job_of(account))
    async with opened(pds, service="https://pds.example", video_service="", allow_http=False) as publisher:
        with pytest.raises(PermanentError, match="without TLS"):
            await publisher.publish(job_of(account))
    assert pds.requests == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"service": "bsky.social"}, "https://"),
        ({"service": "http://a.example"}, "unless allow_http"),
        ({"service": "https://user:word@a.example"}, "user or password"),
        ({"video_service": "ftp://x"}, "https://"),
        ({"pds": "http://a.example"}, "unless allow_http"),
        ({"service": ""}, "service"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"token": "x"}, "token"),
    ],
)
def test_wrong_options_are_found_at_the_start(options: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        BlueskyPublisher(options, Settings())


async def break_at_each(pds: PdsDouble, folder: Path, step: int) -> None:
    """Break the connection after every so many bytes of the exchange; try again until it is posted."""
    files = (media_file(folder, "a.png", PNG, "image/png"),)
    async with CuttingProxy(pds.port).serve() as proxy:
        options = {"service": proxy.url, "pds": proxy.url, "video_service": ""}
        async with opened(pds, **options) as first, opened(pds, **options) as publisher:

            async def cut_once(cut: int) -> None:
                pds.records.clear()
                pds.blobs.clear()
                account = AccountDouble(f"alice{cut}", {"password": PASSWORD}, {"identifier": "alice.test"})
                job, commits = job_of(account, files=files), pds.commits
                error = await error_of_cut(proxy, cut, publisher.publish(job), lambda: bool(pds.records))
                if error is not None:
                    await publisher.publish(job_of(account, files=files, saved=job.saved, attempt=2))
                assert (len(pds.records), pds.commits - commits) == (1, 1), cut

            await cut_at_each(proxy, first.publish(job_of(alice(), files=files)), cut_once, step)


async def test_a_connection_that_breaks_makes_no_second_post(pds: PdsDouble, tmp_path: Path) -> None:
    await break_at_each(pds, tmp_path, step=97)


@pytest.mark.chaos
async def test_a_connection_that_breaks_at_any_byte_makes_no_second_post(pds: PdsDouble, tmp_path: Path) -> None:
    await break_at_each(pds, tmp_path, step=1)


@pytest.mark.chaos
@pytest.mark.usefixtures("both_stores")
async def test_it_keeps_its_class_at_every_step(
    pds: PdsDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERPOST_ACCOUNT_TRIAL", PASSWORD)
    (tmp_path / "a.png").write_bytes(PNG)

    async def texts() -> list[str]:
        return [value["text"] for value, _ in pds.records.values()]

    report = await try_publisher(
        BlueskyPublisher,
        posts=texts,
        platform_at=("127.0.0.1", pds.port),
        options=lambda address: {
            "service": f"http://{address}",
            "pds": f"http://{address}",
            "timeout_s": 5,
            "allow_http": True,
            "allow_private": True,
        },
        fields={"account_id": "alice.test", "file_path": "a.png"},
        prepare=register("password"),
        media=tmp_path,
        cuts=1,  # the tests above cut at every byte
        secret_key=new_key(),
    )
    report.check()
    assert {finding.step.fault for finding in report.findings} == set(Fault) - {Fault.KILL_AMID}
    assert pds.commits == len(pds.records)
