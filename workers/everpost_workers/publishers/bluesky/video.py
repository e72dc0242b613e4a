"""Videos by the video service, which prepares them before the post appears.

https://docs.bsky.app/docs/tutorials/video ("Recommended method")
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from everpost.clock import Clock
from everpost.publishing import InvalidError, Media, PublishError, TransientError
from everpost_workers.publishers.api_answer import ApiAnswer, clean_text
from everpost_workers.publishers.bluesky.options import BlueskyOptions
from everpost_workers.publishers.bluesky.repo import Repo
from everpost_workers.publishers.bluesky.xrpc import error_of
from everpost_workers.publishers.http_api import ApiRequest, HttpApi
from everpost_workers.publishers.uploads import Report, whole_file

TOKEN_S = 1_800
PAUSES_S = (0.5, 5.0)  # between two questions, the first and the longest
FAILED = "JOB_STATE_FAILED"
HOPELESS = frozenset({"validation_failure", "encoding_failure", "pds_upload_unsupported_blob_size"})

Keep = Callable[[str | None], Awaitable[None]]
"""Keeps the id of the service's job; None forgets it."""


class VideoService:
    """The video service, for one account."""

    def __init__(self, api: HttpApi, repo: Repo, options: BlueskyOptions, clock: Clock) -> None:
        self._api = api
        self._repo = repo
        self._options = options
        self._clock = clock
        self._address = options.video_service.rstrip("/")
        self._host = urlsplit(self._address).netloc

    async def prepare(self, media: Media, name: str, job_id: str | None, keep: Keep, report: Report) -> Any:
        """Upload the video, wait until it is prepared, and return the reference that a record embeds.

        Args:
            name: A name for the file, the same for every attempt.
            job_id: What an earlier attempt kept; the video is not uploaded again.

        Raises:
            InvalidError: The service cannot prepare it.
            PublishError: It is not ready; another attempt goes on from the kept job.
        """
        status = await self._status_of(job_id) if job_id else None
        if status is None:
            status = await self._upload(media, name, report)
            if (job_id := _text_in(status, "jobId")) is not None:
                await keep(job_id)
        deadline_s, pause_s = time.monotonic() + self._options.video_wait_s, PAUSES_S[0]
        while not isinstance(status.get("blob"), dict):
            if status.get("state") == FAILED:
                await keep(None)
                raise _failure(status)
            if job_id is None or time.monotonic() > deadline_s:
                raise TransientError("The video service has not prepared the video yet.")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, PAUSES_S[1])
            status = await self._status_of(job_id) or status
        return status["blob"]

    async def _upload(self, media: Media, name: str, report: Report) -> Mapping[str, Any]:
        upload = whole_file(media, report)
        token = await self._token()
        answer = await self._api.send(
            ApiRequest(
                method="POST",
                url=f"{self._address}/xrpc/app.bsky.video.uploadVideo",
                params={"did": self._repo.session.did, "name": name},
                headers={**upload.headers, "Authorization": f"Bearer {token}"},
                content=upload.make,
                timeout_s=self._options.timeout_s,
            )
        )
        status = _status_in(answer)
        # A video that was uploaded before is answered with an error and its job.
        if not answer.is_success and not (status.get("blob") or status.get("jobId")):
            raise error_of(answer, self._host, self._clock())
        return status

    async def _status_of(self, job_id: str) -> Mapping[str, Any] | None:
        """The job's status; None if the service does not know the job."""
        answer = await self._api.send(
            ApiRequest(
                method="GET",
                url=f"{self._address}/xrpc/app.bsky.video.getJobStatus",
                params={"jobId": job_id},
                timeout_s=self._options.timeout_s,
                deadline_s=self._options.timeout_s,
            )
        )
        status = _status_in(answer)
        if answer.is_success or status.get("blob"):
            return status
        error = error_of(answer, self._host, self._clock())
        if isinstance(error, InvalidError) or answer.status == 404:  # noqa: PLR2004 - not found
            return None
        raise error

    async def _token(self) -> str:
        """A token with which the service may store the video in the account's repository."""
        params = {
            "aud": f"did:web:{quote(self._repo.session.host, safe='.-')}",
            "lxm": "com.atproto.repo.uploadBlob",
            "exp": str(self._clock() // 1000 + TOKEN_S),
        }
        answer = await self._repo.get("com.atproto.server.getServiceAuth", params)
        if not answer.is_success:
            raise error_of(answer, self._repo.session.host, self._clock())
        token = answer.text_at("token")
        if token is None:
            raise TransientError(f"{self._repo.session.host} gave no token for the video service.")
        return token


def _status_in(answer: ApiAnswer) -> Mapping[str, Any]:
    """The job's status: `uploadVideo` answers with it, `getJobStatus` with an object that has it."""
    found = answer.object()
    inner = found.get("jobStatus")
    return inner if isinstance(inner, dict) else found


def _failure(status: Mapping[str, Any]) -> PublishError:
    code = _text_in(status, "failureCode")
    said = clean_text(_text_in(status, "message") or _text_in(status, "error") or code or "no reason given")
    message = f"The video service could not prepare the video: {said}."
    return InvalidError(message) if code in HOPELESS else TransientError(message)


def _text_in(status: Mapping[str, Any], name: str) -> str | None:
    value = status.get(name)
    return value if isinstance(value, str) and value else None
