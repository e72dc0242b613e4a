"""Posts tasks: signs in, uploads the media, and writes the record under the task's own key."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from everpost.clock import Clock
from everpost.publishing import (
    Account,
    Media,
    NotFound,
    OutcomeUnknownError,
    PermanentError,
    PublishJob,
    PublishResult,
    TransientError,
)
from everpost_workers.publishers.bluesky.facets import find_spans, handles_in, make_facets
from everpost_workers.publishers.bluesky.kept import Kept, read_kept
from everpost_workers.publishers.bluesky.keys import record_key
from everpost_workers.publishers.bluesky.options import BlueskyOptions
from everpost_workers.publishers.bluesky.record import (
    Content,
    digest_of,
    is_video,
    make_embed,
    make_record,
    read_content,
    record_time,
)
from everpost_workers.publishers.bluesky.repo import MissingBlobError, OtherRecordError, Repo, Written
from everpost_workers.publishers.bluesky.session import Sessions
from everpost_workers.publishers.bluesky.video import VideoService
from everpost_workers.publishers.http_api import HttpApi


class Poster:
    """Posts for all accounts of one platform."""

    def __init__(self, options: BlueskyOptions, connections: int, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._api = HttpApi(connections=connections, allow_http=options.allow_http, allow_private=options.allow_private)
        self._sessions = Sessions(self._api, options, clock)

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def publish(self, job: PublishJob) -> PublishResult:
        """Post a task; see `BlueskyPublisher`."""
        job.trace.nothing_sent()
        content = read_content(job.data, job.files, self._options)
        repo = await self._repo_of(job.account)
        kept = read_kept(job.saved, digest_of(content, job.files), repo.session.did, record_time(self._clock()))
        if kept.did != repo.session.did:
            raise OutcomeUnknownError("An earlier attempt may have posted it for another account of this name.")
        post = _Post(job, content, repo, kept, self._video_service(repo))
        return _result(await post.send(), repo)

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        """Find the record under the task's key."""
        repo = await self._repo_of(job.account)
        found = await repo.get_record(record_key(job.idempotency_key, job.task_id))
        return NotFound.NOT_FOUND if found is None else _result(found[0], repo)

    async def check_account(self, account: Account) -> str:
        """The account's handle and DID, as its server says.

        Raises:
            PublishError: It cannot sign in.
        """
        session = await self._sessions.sign_in(account)
        return f"{session.handle} ({session.did})"

    async def _repo_of(self, account: Account) -> Repo:
        session = await self._sessions.session_of(account)
        return Repo(self._api, self._sessions, account, session, self._options, self._clock)

    def _video_service(self, repo: Repo) -> VideoService | None:
        if not self._options.video_service:
            return None
        return VideoService(self._api, repo, self._options, self._clock)


class _Post:
    """One attempt."""

    def __init__(
        self, job: PublishJob, content: Content, repo: Repo, kept: Kept, video_service: VideoService | None
    ) -> None:
        self._job = job
        self._content = content
        self._repo = repo
        self._kept = kept
        self._video_service = video_service
        self._key = record_key(job.idempotency_key, job.task_id)

    async def send(self) -> Written:
        """Upload what is not uploaded yet, and write the record."""
        try:
            return await self._write()
        except MissingBlobError:  # it was uploaded by an earlier attempt, too long ago
            self._kept.blobs, self._kept.video_job, self._kept.record = [], None, None
        try:
            return await self._write()
        except MissingBlobError as error:
            raise TransientError(f"{self._repo.session.host} lost the uploaded files.") from error

    async def _write(self) -> Written:
        kept = self._kept
        if kept.record is None:
            record = await self._make_record()
            kept.record, kept.was_sent = record, True
            await self._keep()  # from here on, every attempt sends this record
        try:
            return await self._repo.put_record(self._key, kept.record, self._job)
        except OtherRecordError:
            return await self._own_record()

    async def _make_record(self) -> dict[str, Any]:
        files, content = self._job.files, self._content
        await self._upload(files)
        spans = find_spans(content.text)
        dids = {handle: did for handle in handles_in(spans) if (did := await self._repo.find_did(handle))}
        embed = make_embed(files, content.alts, self._kept.blobs)
        return make_record(content, make_facets(content.text, spans, dids), embed, self._kept.created_at)

    async def _own_record(self) -> Written:
        """The record of an earlier attempt, whose task has been changed, or whose checkpoint was lost.

        Raises:
            PermanentError: It is a record of something else.
        """
        found = await self._repo.get_record(self._key)
        if found is None:
            raise TransientError("Another record stood under the key of the post, and has gone.")
        written, value = found
        sent = self._kept.record or {}
        if isinstance(value, dict) and (
            value.get("createdAt") == self._kept.created_at or {**value, "createdAt": sent.get("createdAt")} == sent
        ):
            return written
        raise PermanentError("Another record stands under the key of the post; it is left as it is.")

    async def _upload(self, files: Sequence[Media]) -> None:
        total = sum(media.size_bytes for media in files)
        before = sum(media.size_bytes for media in files[: len(self._kept.blobs)])
        for media in files[len(self._kept.blobs) :]:
            self._kept.blobs.append(await self._upload_one(media, before, total))
            self._kept.video_job = None
            before += media.size_bytes
            self._job.progress(before, total)
            await self._keep()

    async def _upload_one(self, media: Media, before: int, total: int) -> Any:
        def report(done: int) -> None:
            self._job.progress(before + done, total)

        if not is_video(media) or self._video_service is None:
            return await self._repo.upload_blob(media, report)
        name = f"{self._key}.mp4"
        return await self._video_service.prepare(media, name, self._kept.video_job, self._keep_video_job, report)

    async def _keep_video_job(self, job_id: str | None) -> None:
        self._kept.video_job = job_id
        await self._keep()

    async def _keep(self) -> None:
        await self._job.checkpoint(msgspec.to_builtins(self._kept))


def _result(written: Written, repo: Repo) -> PublishResult:
    did, key = repo.session.did, written.uri.rpartition("/")[2]
    return PublishResult(
        provider_post_id=written.uri,
        publish_url=f"https://bsky.app/profile/{quote(did, safe=':')}/post/{quote(key)}",
        detail={"uri": written.uri, "cid": written.cid},
    )
