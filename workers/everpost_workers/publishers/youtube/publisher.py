"""The publisher `youtube`: uploads a video, then sets its thumbnail and puts it into a playlist."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from everpost.clock import Clock, system_clock
from everpost.publishing import (
    Account,
    InvalidError,
    NotFound,
    Publisher,
    PublisherClass,
    PublishError,
    PublishJob,
    PublishResult,
    read_options,
)
from everpost.settings import Settings
from everpost_workers.publishers.youtube.options import YouTubeOptions
from everpost_workers.publishers.youtube.video import Video, read_video

if TYPE_CHECKING:  # it loads an HTTP client, which a worker without tasks for YouTube does not need
    from everpost_workers.publishers.youtube.api import Api

WATCH = "https://www.youtube.com/watch?v="
LARGEST_THUMBNAIL = 50 << 20  # bytes: the page on thumbnails.set
THUMBNAIL_TRIES = 2


class YouTubePublisher(Publisher):
    """Uploads videos. YouTube can be asked how far an upload came, so an upload is neither lost nor repeated.

    Raises:
        SettingsError: An option is unknown or wrong.
    """

    publisher_class = PublisherClass.CHECKABLE
    needs_account = True

    def __init__(self, options: Mapping[str, Any], settings: Settings, clock: Clock = system_clock) -> None:
        self._options = read_options(options, YouTubeOptions)
        self._options.check()
        self._clock = clock
        self._opened: Api | None = None
        self.settings = settings

    async def close(self) -> None:
        """Close the connections to Google."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    def _api(self) -> "Api":
        if self._opened is None:
            from everpost_workers.publishers.youtube.api import Api  # noqa: PLC0415 - see above

            self._opened = Api(self._options, self._clock)
        return self._opened

    async def publish(self, job: PublishJob) -> PublishResult:
        """Upload the video, or go on with its upload; what comes after the upload cannot fail the task.

        Raises:
            PublishError: Why there is no video, or why that is not known.
        """
        from everpost_workers.publishers.youtube.upload import Saved, Upload, read_saved  # noqa: PLC0415 - see above

        job.trace.nothing_sent()
        video = read_video(job, self._options)
        if (video_id := read_saved(job.saved).video_id) is None:
            resource = await Upload(self._api(), self._options, job, video).run()
            video_id = _id_of(resource)
            await job.checkpoint(msgspec.to_builtins(Saved(video_id=video_id)))
        detail = {"thumbnail": await self._set_thumbnail(job, video, video_id)} if video.thumbnail else {}
        if video.playlist is not None:
            detail["playlist"] = await self._add_to_playlist(job, video.playlist, video_id)
        return _result(video_id, {"privacy": video.resource["status"]["privacyStatus"], **detail})

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        """Ask the session of the checkpoint whether the upload is complete."""
        from everpost_workers.publishers.youtube import upload  # noqa: PLC0415 - see above

        saved = upload.read_saved(job.saved)
        if saved.video_id is not None:
            return _result(saved.video_id, _left_undone(job, self._options))
        if saved.session is None or not saved.may_be_whole:
            return NotFound.NOT_FOUND  # YouTube makes no video of a part
        try:
            found = await upload.Session(self._api(), self._options, job).ask(saved)
        except upload.SessionGoneError:
            return NotFound.NO_VERDICT
        if isinstance(found, upload.Made):
            return _result(_id_of(found.resource), _left_undone(job, self._options))
        return NotFound.NOT_FOUND  # the rest goes into the same session, from every worker

    async def check_account(self, account: Account) -> str | None:
        """The title of the account's channel."""
        headers = {"Accept": "application/json"}
        url = self._api().address("/youtube/v3/channels?part=snippet&mine=true")
        answer = await self._api().call(account, "GET", url, headers=headers)
        if not answer.is_success:
            raise self._api().error_of(answer, "the account")
        items = answer.document().get("items") or []
        if not items:
            raise InvalidError("The Google account has no YouTube channel.")
        return str(items[0]["snippet"]["title"])

    async def _set_thumbnail(self, job: PublishJob, video: Video, video_id: str) -> str:
        """https://developers.google.com/youtube/v3/docs/thumbnails/set; setting it twice does no harm."""
        assert video.thumbnail is not None, "the caller checks it"
        if video.thumbnail.size_bytes > LARGEST_THUMBNAIL:
            return "not set: it is too large"
        url = self._api().address(f"/upload/youtube/v3/thumbnails/set?uploadType=media&videoId={quote(video_id)}")
        headers = {"Content-Type": video.thumbnail.content_type}
        said = ""
        for _ in range(THUMBNAIL_TRIES):
            try:
                content = await asyncio.to_thread(_read_all, video)
            except PublishError as error:
                return f"not set: {error}"
            said = await self._afterwards(job, "the thumbnail", url, content, headers)
            if not said:
                return "set"
        return f"not set: {said}"

    async def _add_to_playlist(self, job: PublishJob, playlist: str, video_id: str) -> str:
        """https://developers.google.com/youtube/v3/docs/playlistItems/insert; a repetition would add it twice."""
        resource = {"kind": "youtube#video", "videoId": video_id}
        content = msgspec.json.encode({"snippet": {"playlistId": playlist, "resourceId": resource}})
        url = self._api().address("/youtube/v3/playlistItems?part=snippet")
        headers = {"Content-Type": "application/json; charset=UTF-8"}
        said = await self._afterwards(job, "the playlist", url, content, headers)
        return f"not added: {said}" if said else "added"

    async def _afterwards(
        self, job: PublishJob, doing: str, url: str, content: bytes, headers: Mapping[str, str]
    ) -> str:
        """A call after the video was made; returns why it failed. The video is published whatever comes of it."""
        from everpost_workers.publishers.youtube.api import LostAnswerError  # noqa: PLC0415 - see above

        try:
            answer = await self._api().call(job.account, "POST", url, content=content, headers=headers)
        except LostAnswerError as error:
            return f"no answer: {error}"
        except PublishError as error:
            return str(error)
        return "" if answer.is_success else str(self._api().error_of(answer, doing))


def _read_all(video: Video) -> bytes:
    assert video.thumbnail is not None, "the caller checks it"
    with video.thumbnail.open_file() as file:
        return file.read(LARGEST_THUMBNAIL)


def _id_of(resource: Mapping[str, Any]) -> str:
    video_id = resource.get("id")
    if not isinstance(video_id, str) or not video_id:
        raise TypeError("YouTube's answer to the upload has no id")  # counts as an unknown outcome
    return video_id


def _result(video_id: str, detail: dict[str, Any]) -> PublishResult:
    return PublishResult(provider_post_id=video_id, publish_url=f"{WATCH}{quote(video_id)}", detail=detail)


def _left_undone(job: PublishJob, options: YouTubeOptions) -> dict[str, Any]:
    """What a look-up cannot know: whether the attempt that was cut off still set thumbnail and playlist."""
    video = read_video(job, options)
    wanted = {"thumbnail": video.thumbnail is not None, "playlist": video.playlist is not None}
    return {name: "not known: the attempt was cut off" for name, is_wanted in wanted.items() if is_wanted}
