"""A resumable upload: its session is saved before the first byte, and it goes on where YouTube says that it stopped.

https://developers.google.com/youtube/v3/guides/using_resumable_upload_protocol
"""

import asyncio
import contextlib
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from everpost.publishing import (
    OutcomeUnknownError,
    PermanentError,
    PublishError,
    PublishJob,
    TransientError,
)
from everpost_workers.publishers.youtube.api import Answer, Api, LostAnswerError
from everpost_workers.publishers.youtube.options import KILOBYTE, YouTubeOptions
from everpost_workers.publishers.youtube.video import Video

PAUSES_S = (0.5, 1.0, 2.0, 4.0)
"""Waits before YouTube is asked again how far the upload came; after the last, the attempt ends."""
MOST_SESSIONS = 2  # an attempt begins at most so many
LONGEST_SESSION = 8_192  # characters of its address
CREATED = frozenset({HTTPStatus.OK, HTTPStatus.CREATED})
GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
INCOMPLETE = 308  # the guide calls it Resume Incomplete

_RANGE = re.compile(r"bytes=0-(\d{1,19})\Z")


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """The checkpoint of an upload.

    Attributes:
        session: The session's address; None before it is known.
        size_bytes: The size of the file it was begun for.
        may_be_whole: The last byte may have been sent, so the video may exist.
        video_id: The video; then the upload is over.
        thumbnail: What became of the thumbnail; None until that is over.
        playlist: The same of the playlist.
    """

    session: str | None = None
    size_bytes: int = 0
    may_be_whole: bool = False
    video_id: str | None = None
    thumbnail: str | None = None
    playlist: str | None = None


NOTHING_SAVED = Saved()


class Made(msgspec.Struct, frozen=True):
    """The upload is complete: the resource of the video."""

    resource: Mapping[str, Any]


class Reached(msgspec.Struct, frozen=True):
    """YouTube has so many bytes."""

    size_bytes: int


class SessionGoneError(Exception):
    """YouTube no longer knows the session."""


def read_saved(saved: Any) -> Saved:
    """The task's checkpoint."""
    return NOTHING_SAVED if saved is None else msgspec.convert(saved, Saved)


class Session:
    """Asks and feeds one session."""

    def __init__(self, api: Api, options: YouTubeOptions, job: PublishJob) -> None:
        self._api = api
        self._options = options
        self._job = job

    async def ask(self, saved: Saved) -> Made | Reached:
        """Step 4.1 of the guide: how far the upload has come. It changes nothing.

        Raises:
            SessionGoneError: YouTube does not know the session.
            TransientError, LostAnswerError: There was no answer.
            PublishError: Google refuses to tell.
        """
        return self._meaning(await self._put(saved, f"bytes */{saved.size_bytes}", b""), saved)

    async def send(self, saved: Saved, start: int, content: bytes) -> Made | Reached:
        """Send a part of the file. Raises the errors of `ask`."""
        part = f"bytes {start}-{start + len(content) - 1}/{saved.size_bytes}"
        self._job.trace.sending(f"Sending {part}.")
        return self._meaning(await self._put(saved, part, content), saved)

    async def _put(self, saved: Saved, part: str, content: bytes) -> Answer:
        assert saved.session is not None, "a session is begun before it is used"
        if not self._options.is_trusted(saved.session):
            raise PermanentError("YouTube's upload session is on another host than YouTube's.")
        headers = {"Content-Range": part, "Content-Length": str(len(content))}
        return await self._api.call(self._job.account, "PUT", saved.session, content=content, headers=headers)

    def _meaning(self, answer: Answer, saved: Saved) -> Made | Reached:
        if answer.status in CREATED:
            self._job.trace.answered("YouTube has the whole video.")
            return Made(answer.document())
        if answer.status == INCOMPLETE:
            return Reached(_bytes_received(answer.headers.get("Range"), saved.size_bytes))
        if answer.status in GONE:
            raise SessionGoneError
        raise self._api.error_of(answer, "the upload")


def _bytes_received(header: str | None, most: int) -> int:
    """The bytes that YouTube has. "If you have not sent any bytes yet, there is no Range header"."""
    found = _RANGE.match(header or "")
    return min(int(found[1]) + 1, most) if found else 0


class Upload:
    """The upload of one attempt."""

    def __init__(self, api: Api, options: YouTubeOptions, job: PublishJob, video: Video) -> None:
        self._api = api
        self._job = job
        self._video = video
        self._chunk_bytes = options.chunk_kb * KILOBYTE
        self._session = Session(api, options, job)
        self._saved = read_saved(job.saved)
        self._is_open = self._saved.may_be_whole  # whether YouTube has the last byte is not known
        self._sessions = 0

    async def run(self) -> Mapping[str, Any]:
        """Upload the video, from where it stopped; returns its resource.

        Raises:
            PublishError: Why there is no video. If the last byte may have been sent, it is an OutcomeUnknownError.
        """
        try:
            return await self._run()
        except OutcomeUnknownError:
            raise
        except (PublishError, LostAnswerError) as error:
            if self._is_open:
                raise OutcomeUnknownError(f"YouTube may have the whole video; then: {error}") from error
            if isinstance(error, LostAnswerError):
                raise TransientError(f"The upload stopped: {error}.") from error
            raise

    async def _run(self) -> Mapping[str, Any]:
        reached = await self._begin()
        stalls = 0
        while isinstance(reached, Reached):
            before = reached.size_bytes
            try:
                reached = await self._advance(before)
            except SessionGoneError:
                reached = await self._begin_anew()
            if isinstance(reached, Reached) and reached.size_bytes <= before:
                if stalls == len(PAUSES_S):
                    raise TransientError(f"The upload does not get beyond byte {before:,}.")
                await asyncio.sleep(PAUSES_S[stalls])
                stalls += 1
            else:
                stalls = 0
        return reached.resource

    async def _begin(self) -> Made | Reached:
        """The state of the saved session, or a new one."""
        if self._saved.session is None:
            return await self._begin_anew()
        if self._saved.size_bytes != self._video.file.size_bytes:
            raise _changed()
        try:
            return await self._ask_until_answered()
        except SessionGoneError:
            return await self._begin_anew()

    async def _begin_anew(self) -> Reached:
        """Steps 1 and 2 of the guide: begin a session, and save its address. Nothing is published by that."""
        if self._saved.may_be_whole:
            raise OutcomeUnknownError("YouTube has forgotten the upload, after the last byte may have arrived.")
        self._sessions += 1
        if self._sessions > MOST_SESSIONS:
            raise TransientError("YouTube forgets upload sessions as soon as they begin.")
        self._job.trace.nothing_sent()
        video = self._video
        notify = "true" if video.notify_subscribers else "false"
        query = f"uploadType=resumable&part=snippet,status&notifySubscribers={notify}"
        headers = {
            "Content-Type": "application/json; charset=UTF-8",
            "X-Upload-Content-Length": str(video.file.size_bytes),
            "X-Upload-Content-Type": video.file.content_type,
        }
        url = self._api.address(f"/upload/youtube/v3/videos?{query}")
        content = msgspec.json.encode(video.resource)
        answer = await self._api.call(self._job.account, "POST", url, content=content, headers=headers)
        session = answer.headers.get("Location", "")
        if answer.status != HTTPStatus.OK:
            raise self._api.error_of(answer, "the video")
        if not 0 < len(session) <= LONGEST_SESSION:
            raise TransientError("YouTube's answer has no address of an upload session.")
        await self._save(Saved(session=session, size_bytes=video.file.size_bytes))
        return Reached(0)

    async def _advance(self, start: int) -> Made | Reached:
        """Send the next part, and return how far the upload has come then."""
        content = await asyncio.to_thread(self._read, start)
        if start + len(content) >= self._saved.size_bytes and not self._saved.may_be_whole:
            # YouTube makes the video when it has the last byte. From now on, only it can tell whether there is one.
            await self._save(msgspec.structs.replace(self._saved, may_be_whole=True))
        reached = await self._send(start, content)
        if isinstance(reached, Reached):
            self._job.progress(reached.size_bytes, self._saved.size_bytes)
        return reached

    async def _send(self, start: int, content: bytes) -> Made | Reached:
        if not content:  # all is there, but YouTube has not made the video yet
            return await self._ask_until_answered()
        self._is_open |= start + len(content) >= self._saved.size_bytes
        try:
            reached = await self._session.send(self._saved, start, content)
        except (LostAnswerError, TransientError):
            return await self._ask_until_answered()
        except PublishError:  # a refusal: this request did not complete the upload
            self._is_open = False
            raise
        self._is_open = False
        return reached

    async def _ask_until_answered(self) -> Made | Reached:
        """Ask, and ask again after each failure that may pass: step 4 of the guide."""
        for pause_s in PAUSES_S:
            with contextlib.suppress(LostAnswerError, TransientError):
                return await self._ask()
            await asyncio.sleep(pause_s)
        return await self._ask()

    async def _ask(self) -> Made | Reached:
        reached = await self._session.ask(self._saved)
        self._is_open = False
        return reached

    def _read(self, start: int) -> bytes:
        with self._video.file.open_file() as file:
            file.seek(start)
            content = file.read(min(self._chunk_bytes, self._saved.size_bytes - start))
        if len(content) < min(self._chunk_bytes, self._saved.size_bytes - start):
            raise _changed()
        return content

    async def _save(self, saved: Saved) -> None:
        await self._job.checkpoint(msgspec.to_builtins(saved))
        self._saved = saved


def _changed() -> PublishError:
    return PermanentError("The video file has changed since its upload began.")
