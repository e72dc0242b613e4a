"""What follows the upload: the thumbnail, then the playlist. The next attempt does what one that was cut off left."""

import asyncio
from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from everpost.publishing import Media, PublishError, PublishJob
from everpost_workers.publishers.youtube.api import Answer, Api, LostAnswerError
from everpost_workers.publishers.youtube.upload import Saved
from everpost_workers.publishers.youtube.video import Video

LARGEST_THUMBNAIL = 50 << 20  # bytes: the page on thumbnails.set
THUMBNAIL_TRIES = 2
PLAYLIST_TRIES = 3
JSON = {"Content-Type": "application/json; charset=UTF-8"}
ACCEPT = {"Accept": "application/json"}


class _FailedError(Exception):
    """A call failed; the message says why."""


class _LostError(_FailedError):
    """There was no answer: the call may have been carried out."""


class Afterwards:
    """The steps after the video was made. The video is published whatever comes of them, so none of them fails.

    Args:
        is_resumed: An earlier attempt may have carried out steps that its checkpoint does not show.
    """

    def __init__(self, api: Api, job: PublishJob, saved: Saved, *, is_resumed: bool) -> None:
        self._api = api
        self._job = job
        self._saved = saved
        self._is_resumed = is_resumed

    async def run(self, video: Video) -> dict[str, str]:
        """Carry out the steps that are not done yet; returns what became of each.

        Each step ends with a checkpoint. So no step is repeated without need, and an attempt that was overtaken stops
        before its next step.

        Raises:
            OvertakenError: Another attempt has the task.
        """
        if video.thumbnail is not None and self._saved.thumbnail is None:
            await self._save(msgspec.structs.replace(self._saved, thumbnail=await self._set_thumbnail(video.thumbnail)))
        if video.playlist is not None and self._saved.playlist is None:
            await self._save(msgspec.structs.replace(self._saved, playlist=await self._add_to_playlist(video.playlist)))
        return done_of(self._saved)

    async def _save(self, saved: Saved) -> None:
        self._saved = saved
        await self._job.checkpoint(msgspec.to_builtins(saved))

    async def _set_thumbnail(self, image: Media) -> str:
        """https://developers.google.com/youtube/v3/docs/thumbnails/set; setting it twice does no harm."""
        if image.size_bytes > LARGEST_THUMBNAIL:
            return "not set: it is too large"
        path = f"/upload/youtube/v3/thumbnails/set?{urlencode({'uploadType': 'media', 'videoId': self._video_id})}"
        said = ""
        for _ in range(THUMBNAIL_TRIES):
            try:
                content = await asyncio.to_thread(_read_all, image)
                await self._call("POST", path, "the thumbnail", {"Content-Type": image.content_type}, content)
            except PublishError as error:
                return f"not set: {error}"
            except _FailedError as error:
                said = str(error)
            else:
                return "set"
        return f"not set: {said}"

    async def _add_to_playlist(self, playlist: str) -> str:
        """https://developers.google.com/youtube/v3/docs/playlistItems/insert; a repetition would add it twice."""
        resource = {"kind": "youtube#video", "videoId": self._video_id}
        content = msgspec.json.encode({"snippet": {"playlistId": playlist, "resourceId": resource}})
        is_new = not self._is_resumed  # to this playlist, for certain
        said = ""
        for _ in range(PLAYLIST_TRIES):
            try:
                if not is_new and await self._is_in_playlist(playlist):
                    return "added by an earlier attempt" if self._is_resumed else "added"
                await self._call("POST", "/youtube/v3/playlistItems?part=snippet", "the playlist", JSON, content)
            except _LostError as error:
                said, is_new = str(error), False
            except _FailedError as error:
                return f"not added: {error}"
            else:
                return "added"
        return f"not added: {said}"

    async def _is_in_playlist(self, playlist: str) -> bool:
        """https://developers.google.com/youtube/v3/docs/playlistItems/list; `videoId` filters the playlist's items."""
        query = urlencode({"part": "id", "playlistId": playlist, "videoId": self._video_id, "maxResults": 1})
        answer = await self._call("GET", f"/youtube/v3/playlistItems?{query}", "the playlist", ACCEPT)
        return bool(answer.document().get("items"))

    @property
    def _video_id(self) -> str:
        assert self._saved.video_id is not None, "the steps follow the upload"
        return self._saved.video_id

    async def _call(
        self, method: str, path: str, doing: str, headers: Mapping[str, str], content: bytes = b""
    ) -> Answer:
        """Call the API.

        Raises:
            _FailedError: It failed.
        """
        url = self._api.address(path)
        try:
            answer = await self._api.call(self._job.account, method, url, content=content, headers=headers)
        except LostAnswerError as error:
            raise _LostError(f"no answer: {error}") from error
        except PublishError as error:
            raise _FailedError(str(error)) from error
        if not answer.is_success:
            raise _FailedError(str(self._api.error_of(answer, doing)))
        return answer


def done_of(saved: Saved) -> dict[str, str]:
    """What became of the steps that are over, as a result's detail tells it."""
    steps = {"thumbnail": saved.thumbnail, "playlist": saved.playlist}
    return {name: became for name, became in steps.items() if became is not None}


def left_of(saved: Saved, video: Video) -> list[str]:
    """The steps that are not over."""
    wanted = {"thumbnail": video.thumbnail is not None, "playlist": video.playlist is not None}
    return [name for name, is_wanted in wanted.items() if is_wanted and name not in done_of(saved)]


def _read_all(image: Media) -> bytes:
    with image.open_file() as file:
        return file.read(LARGEST_THUMBNAIL)
