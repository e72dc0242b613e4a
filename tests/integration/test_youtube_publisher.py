"""The publisher `youtube` against a double of Google's servers, which follows Google's pages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from command_kit import KEY, SETTINGS, KeptCheckpoints
from everpost.errors import InvalidValue, SettingsError
from everpost.platforms import Catalogue, Platform
from everpost.publishing import (
    AccountBlockedError,
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
from everpost.testing import AccountDouble
from everpost.text_lengths import Counting
from everpost_workers.publishers.youtube import upload
from everpost_workers.publishers.youtube.answers import until_quota_resets
from everpost_workers.publishers.youtube.publisher import YouTubePublisher
from everpost_workers.publishers.youtube.video import LONGEST_DESCRIPTION, LONGEST_TAGS, LONGEST_TITLE, VideoFields
from publisher_kit import CuttingProxy, Response, media_file
from youtube_double import CHANNELS, CLIENT, PLAYLIST_ITEMS, SESSIONS, THUMBNAILS, TOKEN, UNIT, VIDEOS, YouTube, refusal

PLATFORM = Platform(id=8, name="youtube", publisher="youtube")
NOW_MS = int(datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp() * 1000)
VIDEO = bytes(range(256)) * 4
MOST_ATTEMPTS = 12


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PAUSES_S", (0.0, 0.0))


@pytest.fixture
async def youtube() -> AsyncIterator[YouTube]:
    youtube = YouTube()
    async with youtube.serve():
        yield youtube


@asynccontextmanager
async def publisher_at(url: str, **options: Any) -> AsyncIterator[YouTubePublisher]:
    addresses = {"api_url": url, "token_url": f"{url}{TOKEN}", "chunk_kb": 256}
    publisher = YouTubePublisher({**addresses, **options}, SETTINGS, clock=lambda: NOW_MS)
    try:
        yield publisher
    finally:
        await publisher.close()


def account_with(**more: str) -> AccountDouble:
    return AccountDouble("main", {**CLIENT, "access_token": "access-secret-0", **more})


def job_with(folder: Path, content: bytes = VIDEO, data: dict[str, Any] | None = None, **fields: Any) -> PublishJob:
    files = (media_file(folder, "clip.mp4", content, "video/mp4"),)
    fields = {"files": files, "account": account_with(), "keeper": KeptCheckpoints(), **fields}
    return PublishJob(task_id="t1", data=data or {"title": "测试"}, platform=PLATFORM, idempotency_key=KEY, **fields)


async def test_a_video_is_uploaded_with_all_that_its_task_says(youtube: YouTube, tmp_path: Path) -> None:
    data = {
        "title": "测试",
        "description": "d",
        "tags": ["#a", "b c"],
        "privacy": "unlisted",
        "category": 10,
        "made_for_kids": True,
        "playlist": "PL1",
        "language": "zh",
        "notify_subscribers": False,
    }
    files = (
        media_file(tmp_path, "clip.mp4", VIDEO, "video/mp4"),
        media_file(tmp_path, "cover.png", b"image", "image/png"),
    )
    async with publisher_at(youtube.http.url) as publisher:
        result = await publisher.publish(job_with(tmp_path, data=data, files=files))
    assert (result.provider_post_id, result.publish_url) == ("video1", "https://www.youtube.com/watch?v=video1")
    assert result.detail == {"privacy": "unlisted", "thumbnail": "set", "playlist": "added"}
    (video,) = youtube.videos
    assert video["snippet"] == {
        "title": "测试",
        "description": "d",
        "tags": ["a", "b c"],
        "categoryId": "10",
        "defaultLanguage": "zh",
    }
    assert video["status"] == {"privacyStatus": "unlisted", "selfDeclaredMadeForKids": True}
    assert youtube.http.requests[0].query["notifySubscribers"] == "false"
    assert (youtube.thumbnails, youtube.playlists) == ({"video1": b"image"}, [("PL1", "video1")])


async def test_the_session_is_saved_before_the_first_byte_and_the_last_byte_is_announced(
    youtube: YouTube, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []

    class Watching(KeptCheckpoints):
        async def keep(self, checkpoint: bytes) -> None:
            await super().keep(checkpoint)
            seen.append((len(self.checkpoints), sum(session.received for session in youtube.sessions.values())))

    keeper = Watching()
    async with publisher_at(youtube.http.url) as publisher:
        await publisher.publish(job_with(tmp_path, bytes(2 * UNIT + 5), keeper=keeper))
    session = f"{youtube.http.url}{SESSIONS}1"
    left = {"thumbnail": None, "playlist": None}
    begun = {"session": session, "size_bytes": 2 * UNIT + 5, "may_be_whole": False, "video_id": None, **left}
    over = {"session": None, "size_bytes": 0, "may_be_whole": False, "video_id": "video1", **left}
    assert keeper.checkpoints == [begun, {**begun, "may_be_whole": True}, over]
    assert seen == [(1, 0), (2, 2 * UNIT), (3, 2 * UNIT + 5)]
    assert keeper.progress == [(UNIT, 2 * UNIT + 5), (2 * UNIT, 2 * UNIT + 5)]


async def test_an_upload_goes_on_where_youtube_says_that_it_stopped(youtube: YouTube, tmp_path: Path) -> None:
    job = job_with(tmp_path, bytes(3 * UNIT))
    youtube.keeps = [UNIT, 1_000]  # of the second part, only a little
    async with publisher_at(youtube.http.url) as publisher:
        await publisher.publish(job)
    ranges = [request.headers.get("content-range") for request in youtube.http.requests if SESSIONS in request.path]
    assert ranges == [
        f"bytes 0-{UNIT - 1}/{3 * UNIT}",
        f"bytes {UNIT}-{2 * UNIT - 1}/{3 * UNIT}",
        f"bytes {UNIT + 1_000}-{2 * UNIT + 999}/{3 * UNIT}",
        f"bytes {2 * UNIT + 1_000}-{3 * UNIT - 1}/{3 * UNIT}",
    ]
    assert len(youtube.videos) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_failure_of_the_server_is_asked_about_and_the_upload_goes_on(
    youtube: YouTube, tmp_path: Path, status: int
) -> None:
    youtube.http.fail_next(SESSIONS, Response(status), Response(status))
    async with publisher_at(youtube.http.url) as publisher:
        await publisher.publish(job_with(tmp_path, bytes(UNIT + 1)))
    assert len(youtube.videos) == len(youtube.sessions) == 1


async def test_a_lost_answer_to_the_last_byte_makes_no_second_video(youtube: YouTube, tmp_path: Path) -> None:
    youtube.loses = [SESSIONS]
    async with publisher_at(youtube.http.url) as publisher:
        assert (await publisher.publish(job_with(tmp_path))).provider_post_id == "video1"
    assert len(youtube.videos) == len(youtube.sessions) == 1


async def test_a_video_that_youtube_may_have_is_looked_up_by_its_session(youtube: YouTube, tmp_path: Path) -> None:
    job = job_with(tmp_path, data={"title": "t", "playlist": "PL1"})
    youtube.loses = [SESSIONS] * 9
    async with publisher_at(youtube.http.url) as publisher:
        with pytest.raises(OutcomeUnknownError, match="may have the whole video"):
            await publisher.publish(job)
        youtube.loses = []
        assert await publisher.look_up(job) is NotFound.NOT_FOUND  # another attempt fills the playlist
        last = msgspec.structs.replace(job, attempt=SETTINGS.max_attempts)
        found = await publisher.look_up(last)
        assert isinstance(found, PublishResult)
        assert (found.provider_post_id, found.detail) == (
            "video1",
            {"playlist": "not known: the attempt was cut off"},
        )
        youtube.sessions[f"{SESSIONS}1"].is_gone = True
        assert await publisher.look_up(job) is NotFound.NO_VERDICT
        with pytest.raises(OutcomeUnknownError, match="forgotten"):
            await publisher.publish(job)
    assert len(youtube.videos) == 1


@pytest.mark.parametrize("status", [404, 410])
async def test_a_session_that_expired_before_the_last_byte_is_replaced(
    youtube: YouTube, tmp_path: Path, status: int
) -> None:
    gone = {"session": f"{youtube.http.url}{SESSIONS}9", "size_bytes": len(VIDEO), "may_be_whole": False}
    youtube.http.fail_next(SESSIONS, refusal(status, "notFound"))
    job = job_with(tmp_path, saved=gone)
    async with publisher_at(youtube.http.url) as publisher:
        assert await publisher.look_up(job) is NotFound.NOT_FOUND
        await publisher.publish(job)
    assert len(youtube.videos) == 1


async def test_sessions_that_expire_at_once_end_the_attempt(youtube: YouTube, tmp_path: Path) -> None:
    youtube.http.fail_next(SESSIONS, *(refusal(404, "notFound") for _ in range(4)))
    async with publisher_at(youtube.http.url) as publisher:
        with pytest.raises(TransientError, match="forgets"):
            await publisher.publish(job_with(tmp_path, bytes(UNIT + 1)))
    assert youtube.videos == []


async def test_an_upload_that_gets_nowhere_ends(youtube: YouTube, tmp_path: Path) -> None:
    youtube.keeps = [0] * 50
    async with publisher_at(youtube.http.url) as publisher:
        with pytest.raises(TransientError, match="beyond byte 0"):
            await publisher.publish(job_with(tmp_path, bytes(UNIT + 1)))


async def test_nothing_was_published_without_a_checkpoint(youtube: YouTube, tmp_path: Path) -> None:
    async with publisher_at(youtube.http.url) as publisher:
        assert await publisher.look_up(job_with(tmp_path)) is NotFound.NOT_FOUND
        part = {"session": f"{youtube.http.url}{SESSIONS}1", "size_bytes": 9, "may_be_whole": True}
        youtube.sessions[f"{SESSIONS}1"] = youtube_session(9)
        assert await publisher.look_up(job_with(tmp_path, saved=part)) is NotFound.NOT_FOUND


def youtube_session(total: int) -> Any:
    from youtube_double import UploadSession  # noqa: PLC0415 - only here

    return UploadSession({}, total, received=4)


@pytest.mark.parametrize(
    ("path", "response", "expected", "seconds"),
    [
        (VIDEOS, refusal(403, "quotaExceeded"), RateLimitedError, until_quota_resets(NOW_MS)),
        (VIDEOS, refusal(403, "dailyLimitExceeded"), RateLimitedError, until_quota_resets(NOW_MS)),
        (VIDEOS, refusal(403, "rateLimitExceeded", Retry_After="7"), RateLimitedError, 7),
        (VIDEOS, refusal(403, "userRateLimitExceeded"), RateLimitedError, 60),
        (VIDEOS, Response(429, headers={"Retry-After": "9"}), RateLimitedError, 9),
        (VIDEOS, Response(429), RateLimitedError, 60),
        (VIDEOS, refusal(400, "uploadLimitExceeded"), RateLimitedError, 86_400),
        (VIDEOS, refusal(400, "invalidTitle"), InvalidError, None),
        (VIDEOS, refusal(401, "youtubeSignupRequired"), AuthError, None),
        (VIDEOS, refusal(403, "forbidden"), AuthError, None),
        (VIDEOS, refusal(403, "authenticatedUserAccountClosed"), AccountBlockedError, None),
        (VIDEOS, refusal(409, "conflict"), PermanentError, None),
        (VIDEOS, Response(500), TransientError, None),
        (VIDEOS, Response(503, headers={"Retry-After": "5"}), TransientError, 5),
        (VIDEOS, Response(200), TransientError, None),  # without a session
        (VIDEOS, Response(hangs_up=True), TransientError, None),
        (SESSIONS, refusal(403, "quotaExceeded"), RateLimitedError, until_quota_resets(NOW_MS)),
        (SESSIONS, refusal(400, "invalidVideo"), InvalidError, None),
    ],
)
async def test_a_refusal_has_its_error_class(
    youtube: YouTube,
    tmp_path: Path,
    path: str,
    response: Response,
    expected: type[PublishError],
    seconds: float | None,
) -> None:
    youtube.http.fail_next(path, response, *([response] if response.status == 401 else []))
    async with publisher_at(youtube.http.url) as publisher:
        with pytest.raises(expected) as caught:
            await publisher.publish(job_with(tmp_path))
    assert type(caught.value) is expected
    assert caught.value.retry_after_s == seconds
    assert youtube.videos == []


def test_quotas_reset_at_midnight_in_california() -> None:
    assert until_quota_resets(NOW_MS) == 19 * 3600  # 12:00 UTC is 05:00 there
    before_dst = int(datetime(2026, 11, 1, 6, 30, tzinfo=UTC).timestamp() * 1000)  # 23:30; the clock goes back at 2:00
    assert until_quota_resets(before_dst) == 1800
    assert until_quota_resets(before_dst + 3_600_000) == 24.5 * 3600


@pytest.mark.parametrize(
    "account",
    [
        account_with(access_token="revoked-secret"),
        account_with(access_token_expires_ms=str(NOW_MS + 1_000)),
        AccountDouble("main", CLIENT),
    ],
    ids=["refused", "old", "none"],
)
async def test_a_token_is_refreshed_under_the_accounts_lock_and_stored(
    youtube: YouTube, tmp_path: Path, account: AccountDouble
) -> None:
    youtube.tokens.discard("access-secret-0")
    async with publisher_at(youtube.http.url) as publisher:
        jobs = [job_with(tmp_path, account=account) for _ in range(3)]
        await asyncio.gather(*map(publisher.publish, jobs))
    assert youtube.refreshed == 1
    assert account.stored == {"access_token": "access-secret-1", "access_token_expires_ms": str(NOW_MS + 3_920_000)}
    assert len(youtube.videos) == 3


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (Response(400, {"error": "invalid_grant"}), AuthError),
        (Response(401, {"error": "invalid_client"}), AuthError),
        (Response(500), TransientError),
        (Response(429, headers={"Retry-After": "8"}), RateLimitedError),
        (Response(200, {"token_type": "Bearer"}), TransientError),
        (Response(hangs_up=True), TransientError),
    ],
)
async def test_a_token_that_is_not_refreshed_has_an_error_class(
    youtube: YouTube, tmp_path: Path, response: Response, expected: type[PublishError]
) -> None:
    youtube.http.fail_next(TOKEN, response)
    async with publisher_at(youtube.http.url) as publisher:
        with pytest.raises(expected) as caught:
            await publisher.publish(job_with(tmp_path, account=AccountDouble("main", CLIENT)))
    assert type(caught.value) is expected
    assert "secret" not in str(caught.value)


async def test_an_account_without_credentials_is_refused(youtube: YouTube, tmp_path: Path) -> None:
    async with publisher_at(youtube.http.url) as publisher:
        with pytest.raises(AuthError, match="client_secret, refresh_token"):
            await publisher.publish(job_with(tmp_path, account=AccountDouble("main", {"client_id": "c"})))
        assert await publisher.check_account(account_with()) == "The channel"
        youtube.http.fail_next(CHANNELS, Response(200, {"items": []}))
        with pytest.raises(InvalidError, match="no YouTube channel"):
            await publisher.check_account(account_with())


@pytest.mark.parametrize(
    ("path", "response", "detail"),
    [
        (THUMBNAILS, refusal(403, "forbidden"), "not set: YouTube refuses the thumbnail: 403 forbidden"),
        (PLAYLIST_ITEMS, refusal(404, "playlistNotFound"), "not added: YouTube refuses the playlist: 404"),
        (PLAYLIST_ITEMS, Response(hangs_up=True), "not added: no answer"),
    ],
)
async def test_what_comes_after_the_upload_cannot_fail_the_task(
    youtube: YouTube, tmp_path: Path, path: str, response: Response, detail: str
) -> None:
    files = (
        media_file(tmp_path, "clip.mp4", VIDEO, "video/mp4"),
        media_file(tmp_path, "cover.jpg", b"image", "image/jpeg"),
    )
    youtube.http.fail_next(path, *[response] * 6)  # asked about, and tried again
    async with publisher_at(youtube.http.url, playlist="PL1") as publisher:
        result = await publisher.publish(job_with(tmp_path, files=files))
    assert result.detail["thumbnail" if path == THUMBNAILS else "playlist"].startswith(detail)
    assert len(youtube.videos) == 1


async def test_an_attempt_after_the_upload_uploads_nothing(youtube: YouTube, tmp_path: Path) -> None:
    job = job_with(tmp_path, saved={"video_id": "video7"})
    async with publisher_at(youtube.http.url) as publisher:
        assert (await publisher.publish(job)).provider_post_id == "video7"
        found = await publisher.look_up(job)
    assert isinstance(found, PublishResult)
    assert found.provider_post_id == "video7"
    assert youtube.http.requests == []


WANTED = {"title": "t", "playlist": "PL1"}


def with_thumbnail(folder: Path, **fields: Any) -> PublishJob:
    """A task with all that follows an upload."""
    files = (media_file(folder, "clip.mp4", VIDEO, "video/mp4"), media_file(folder, "c.png", b"image", "image/png"))
    return job_with(folder, data=WANTED, files=files, **fields)


class Dying(KeptCheckpoints):
    """Ends the attempt when it has saved so many checkpoints, as a kill would."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self._last = last

    async def keep(self, checkpoint: bytes) -> None:
        await super().keep(checkpoint)
        if len(self.checkpoints) == self._last:
            raise KilledError


class KilledError(BaseException):
    """Kills an attempt."""


@pytest.mark.parametrize("checkpoint", [2, 3, 4, 5])
async def test_what_an_attempt_left_undone_after_the_upload_is_done_by_the_next_one(
    youtube: YouTube, tmp_path: Path, checkpoint: int
) -> None:
    keeper = Dying(checkpoint)
    async with publisher_at(youtube.http.url) as publisher:
        first = with_thumbnail(tmp_path, keeper=keeper)
        with pytest.raises(KilledError):
            await publisher.publish(first)
        left = with_thumbnail(tmp_path, saved=msgspec.json.decode(msgspec.json.encode(keeper.checkpoints[-1])))
        if checkpoint < 5:
            assert await publisher.look_up(left) is NotFound.NOT_FOUND
            result = await publisher.publish(left)
        else:
            result = await publisher.look_up(left)  # type: ignore[assignment]  # all is done, so it is found
    done = {name: became for name, became in result.detail.items() if name != "privacy"}
    assert done == {"thumbnail": "set", "playlist": "added"}
    assert (youtube.thumbnails, youtube.playlists) == ({"video1": b"image"}, [("PL1", "video1")])
    assert len(youtube.videos) == 1


async def test_a_video_that_an_earlier_attempt_put_into_its_playlist_is_not_added_again(
    youtube: YouTube, tmp_path: Path
) -> None:
    youtube.playlists.append(("PL1", "video7"))
    job = job_with(tmp_path, data=WANTED, saved={"video_id": "video7"})
    async with publisher_at(youtube.http.url) as publisher:
        assert (await publisher.publish(job)).detail["playlist"] == "added by an earlier attempt"
        assert job.saved["playlist"] == "added by an earlier attempt"
        found = await publisher.look_up(job)
    assert isinstance(found, PublishResult)
    assert youtube.playlists == [("PL1", "video7")]


async def test_a_lost_answer_of_the_playlist_is_asked_about(youtube: YouTube, tmp_path: Path) -> None:
    youtube.loses = [PLAYLIST_ITEMS]
    async with publisher_at(youtube.http.url) as publisher:
        assert (await publisher.publish(job_with(tmp_path, data=WANTED))).detail["playlist"] == "added"
    assert youtube.playlists == [("PL1", "video1")]


async def test_a_playlist_that_a_broken_connection_left_empty_is_filled(youtube: YouTube, tmp_path: Path) -> None:
    youtube.http.fail_next(PLAYLIST_ITEMS, Response(hangs_up=True))
    async with publisher_at(youtube.http.url) as publisher:
        assert (await publisher.publish(job_with(tmp_path, data=WANTED))).detail["playlist"] == "added"
    assert youtube.playlists == [("PL1", "video1")]


async def test_a_task_that_was_made_invalid_after_its_upload_keeps_its_video(youtube: YouTube, tmp_path: Path) -> None:
    job = job_with(tmp_path, data={"title": "<"}, saved={"video_id": "video7"})
    async with publisher_at(youtube.http.url) as publisher:
        result = await publisher.publish(job)
    assert (result.provider_post_id, "title" in result.detail["not_done"]) == ("video7", True)


async def test_a_video_of_a_task_that_was_made_invalid_is_found(youtube: YouTube, tmp_path: Path) -> None:
    job = job_with(tmp_path, data={"title": "<", "playlist": "PL1"}, saved={"video_id": "video7"})
    async with publisher_at(youtube.http.url) as publisher:
        result = await publisher.look_up(job)
    assert isinstance(result, PublishResult)
    assert (result.provider_post_id, "title" in result.detail["not_done"]) == ("video7", True)


async def test_a_cookie_of_one_account_goes_to_no_other(youtube: YouTube, tmp_path: Path) -> None:
    youtube.http.fail_next(CHANNELS, Response(200, {}, headers={"Set-Cookie": "session=secret; Path=/"}))
    async with publisher_at(youtube.http.url) as publisher:
        with pytest.raises(InvalidError):
            await publisher.check_account(account_with())
        await publisher.publish(job_with(tmp_path))
    assert [request.headers.get("cookie") for request in youtube.http.requests] == [None] * 3


async def test_an_answer_is_not_unpacked_so_that_its_limit_holds(youtube: YouTube) -> None:
    channels = {"items": [{"snippet": {"title": "as it came"}}]}
    youtube.http.fail_next(CHANNELS, Response(200, channels, headers={"Content-Encoding": "gzip"}))
    async with publisher_at(youtube.http.url) as publisher:
        assert await publisher.check_account(account_with()) == "as it came"
    assert youtube.http.requests[0].headers["accept-encoding"] == "identity"


async def test_a_token_goes_to_no_other_host(youtube: YouTube, tmp_path: Path) -> None:
    youtube.http.fail_next(VIDEOS, Response(200, headers={"Location": "https://example.org/upload"}))
    async with publisher_at(youtube.http.url) as publisher:
        with pytest.raises(PermanentError, match="another host"):
            await publisher.publish(job_with(tmp_path))


async def test_a_file_that_changed_since_its_upload_began_is_not_continued(youtube: YouTube, tmp_path: Path) -> None:
    saved = {"session": f"{youtube.http.url}{SESSIONS}1", "size_bytes": 5}
    async with publisher_at(youtube.http.url) as publisher:
        with pytest.raises(PermanentError, match="has changed"):
            await publisher.publish(job_with(tmp_path, saved=saved))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "title"),
        ({"title": "x" * 101}, "title: YouTube takes 1 to 100"),
        ({"title": "a<b"}, "title: YouTube takes no <"),
        ({"title": 7}, "title: Expected `str`"),
        ({"title": "t", "description": "测" * 1_667}, "description: YouTube takes at most 5,000 bytes"),
        ({"title": "t", "tags": ["x" * 249, "y " + "x" * 247]}, "these count as 501"),
        ({"title": "t", "privacy": "secret"}, "privacy: Invalid enum value"),
    ],
)
async def test_a_task_that_youtube_would_refuse_is_not_sent(
    youtube: YouTube, tmp_path: Path, data: dict[str, Any], message: str
) -> None:
    async with publisher_at(youtube.http.url) as publisher:
        with pytest.raises(InvalidError, match=message):
            await publisher.publish(job_with(tmp_path, data={"x": 1, **data}))
    assert youtube.http.requests == []


@pytest.mark.parametrize(
    "names", [[], ["a.mp4", "b.mp4"], ["a.png"], ["a.mp4", "a.png", "b.png"], ["a.mp4", "a.gif"], ["empty.mp4"]]
)
async def test_files_that_are_not_one_video_with_a_thumbnail_are_refused(
    youtube: YouTube, tmp_path: Path, names: list[str]
) -> None:
    kinds = {"mp4": "video/mp4", "png": "image/png", "gif": "image/gif"}
    contents = {name: b"" if name == "empty.mp4" else b"x" for name in names}
    files = tuple(media_file(tmp_path, name, contents[name], kinds[name[-3:]]) for name in names)
    async with publisher_at(youtube.http.url) as publisher:
        with pytest.raises(InvalidError):
            await publisher.publish(job_with(tmp_path, files=files))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"api_url": "http://example.org"}, "options.api_url: must be an https"),
        ({"token_url": "ftp://example.org"}, "options.token_url: must be an https"),
        ({"chunk_kb": 300}, "chunk_kb"),
        ({"privacy": "secret"}, "privacy"),
        ({"api_key": "x"}, "api_key"),
    ],
)
def test_a_mistake_in_the_options_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        YouTubePublisher(options, SETTINGS)


async def attempts_until_it_is_over(publisher: YouTubePublisher, job: PublishJob) -> str | None:
    """What a worker does: an attempt of unknown outcome is looked up, and is made again if there is no post."""
    for _ in range(MOST_ATTEMPTS):
        try:
            return (await publisher.publish(job)).provider_post_id
        except OutcomeUnknownError:
            found = await look_up_until_answered(publisher, job)
            if isinstance(found, PublishResult):
                return found.provider_post_id
            if found is NotFound.NO_VERDICT:
                return None
        except TransientError:
            continue
    raise AssertionError("it is never over")


async def look_up_until_answered(publisher: YouTubePublisher, job: PublishJob) -> PublishResult | NotFound:
    try:
        return await publisher.look_up(job)
    except Exception:  # noqa: BLE001 - counts as no verdict, once; the connection is whole the second time
        return await publisher.look_up(job)


async def exchange_size(folder: Path) -> int:
    youtube = YouTube()
    async with (
        youtube.serve() as server,
        CuttingProxy(server.port).serve() as proxy,
        publisher_at(proxy.url) as publisher,
    ):
        await publisher.publish(with_thumbnail(folder))
        return proxy.passed


async def cut_at(folder: Path, size_bytes: int) -> None:
    """The connection is cut once after so many bytes; whatever happens, there is exactly one video, and it is known.

    An attempt that has the video ends with it, and tells what did not succeed after the upload.
    """
    youtube = YouTube()
    async with (
        youtube.serve() as server,
        CuttingProxy(server.port).serve() as proxy,
        publisher_at(proxy.url) as publisher,
    ):
        proxy.cut_after(size_bytes)
        job = with_thumbnail(folder)
        try:
            first: str | None = (await publisher.publish(job)).provider_post_id
        except (OutcomeUnknownError, TransientError):
            proxy.cut_after(None)
            first = await attempts_until_it_is_over(publisher, job)
        assert first == "video1", size_bytes
        assert len(youtube.videos) == 1, size_bytes
        done = {name: became for name, became in job.saved.items() if name in {"thumbnail", "playlist"}}
        assert (done["thumbnail"] == "set") <= bool(youtube.thumbnails), (size_bytes, done)
        assert (done["playlist"] == "added") <= bool(youtube.playlists), (size_bytes, done)
        assert len(youtube.playlists) <= 1, size_bytes


async def test_a_connection_that_is_cut_at_some_byte_makes_one_video(tmp_path: Path) -> None:
    size = await exchange_size(tmp_path)
    for number in range(12):
        await cut_at(tmp_path, 1 + number * size // 12)


@pytest.mark.chaos
async def test_a_connection_that_is_cut_at_any_byte_makes_one_video(tmp_path: Path) -> None:
    for size_bytes in range(1, await exchange_size(tmp_path) + 1):
        await cut_at(tmp_path, size_bytes)


async def test_a_late_answer_to_the_last_byte_makes_no_second_video(youtube: YouTube, tmp_path: Path) -> None:
    async with publisher_at(youtube.http.url, timeout_s=0.2) as publisher:
        session = Response(201, {"id": "late"}, delay_s=0.5)
        youtube.http.fail_next(SESSIONS, session)
        assert (await publisher.publish(job_with(tmp_path))).provider_post_id == "video1"
    assert len(youtube.videos) == 1


def test_the_checkpoint_can_be_read_again() -> None:
    saved = upload.Saved(session="https://example.org", size_bytes=3, may_be_whole=True)
    assert upload.read_saved(msgspec.json.decode(msgspec.json.encode(saved))) == saved


def test_the_catalogue_refuses_before_queueing_what_the_publisher_would_refuse() -> None:
    platform = Catalogue.read().find("youtube")
    assert platform.title_max == LONGEST_TITLE
    assert (platform.description_max, platform.description_counting) == (LONGEST_DESCRIPTION, Counting.BYTES)
    assert platform.tags_total_max == LONGEST_TAGS
    assert set(VideoFields.__struct_fields__) - {"title", "description", "tags"} == set(platform.fields)
    with pytest.raises(InvalidValue, match="500"):
        platform.check("t", None, ["x" * 249, "y " + "x" * 247])
