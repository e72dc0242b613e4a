"""The publisher `youtube`: uploads a video, then sets its thumbnail and puts it into a playlist."""

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
    PublishJob,
    PublishResult,
    read_options,
)
from everpost.settings import Settings
from everpost_workers.publishers.youtube.options import YouTubeOptions
from everpost_workers.publishers.youtube.video import read_video

if TYPE_CHECKING:  # it loads an HTTP client, which a worker without tasks for YouTube does not need
    from everpost_workers.publishers.youtube.api import Api
    from everpost_workers.publishers.youtube.upload import Saved

WATCH = "https://www.youtube.com/watch?v="
CUT_OFF = "not known: the attempt was cut off"


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
        from everpost_workers.publishers.youtube.afterwards import Afterwards  # noqa: PLC0415 - see above
        from everpost_workers.publishers.youtube.upload import Saved, Upload, read_saved  # noqa: PLC0415 - see above

        job.trace.nothing_sent()
        saved = read_saved(job.saved)
        is_resumed = saved.video_id is not None
        try:
            video = read_video(job, self._options)
        except InvalidError as error:
            if saved.video_id is None:
                raise
            return _result(saved.video_id, {"not_done": str(error)})
        if saved.video_id is None:
            saved = Saved(video_id=_id_of(await Upload(self._api(), self._options, job, video).run()))
            await job.checkpoint(msgspec.to_builtins(saved))
        assert saved.video_id is not None, "the video is made"
        detail = await Afterwards(self._api(), job, saved, is_resumed=is_resumed).run(video)
        return _result(saved.video_id, {"privacy": video.resource["status"]["privacyStatus"], **detail})

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        """Ask the session of the checkpoint whether the upload is complete.

        If it is, and a thumbnail or a playlist is left to do, the answer is NOT_FOUND as long as there is another
        attempt: it uploads nothing, and does what is left.
        """
        from everpost_workers.publishers.youtube import upload  # noqa: PLC0415 - see above

        saved = upload.read_saved(job.saved)
        if saved.video_id is not None:
            return self._found(job, saved, saved.video_id)
        if saved.session is None or not saved.may_be_whole:
            return NotFound.NOT_FOUND  # YouTube makes no video of a part
        try:
            found = await upload.Session(self._api(), self._options, job).ask(saved)
        except upload.SessionGoneError:
            return NotFound.NO_VERDICT
        if isinstance(found, upload.Made):
            return self._found(job, saved, _id_of(found.resource))
        return NotFound.NOT_FOUND  # the rest goes into the same session, from every worker

    def _found(self, job: PublishJob, saved: "Saved", video_id: str) -> PublishResult | NotFound:
        from everpost_workers.publishers.youtube.afterwards import done_of, left_of  # noqa: PLC0415 - see above

        try:
            left = left_of(saved, read_video(job, self._options))
        except InvalidError as error:  # the task was edited since, or a file is gone; the video is there
            return _result(video_id, {**done_of(saved), "not_done": str(error)})
        if left and job.attempt < (job.platform.max_attempts or self.settings.max_attempts):
            return NotFound.NOT_FOUND
        return _result(video_id, {**done_of(saved), **dict.fromkeys(left, CUT_OFF)})

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


def _id_of(resource: Mapping[str, Any]) -> str:
    video_id = resource.get("id")
    if not isinstance(video_id, str) or not video_id:
        raise TypeError("YouTube's answer to the upload has no id")  # counts as an unknown outcome
    return video_id


def _result(video_id: str, detail: dict[str, Any]) -> PublishResult:
    return PublishResult(provider_post_id=video_id, publish_url=f"{WATCH}{quote(video_id)}", detail=detail)
