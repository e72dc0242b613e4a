"""Posts tasks: uploads the media, posts the status with the task's key, and finds what an earlier attempt posted."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from everpost.clock import Clock
from everpost.publishing import (
    Account,
    AuthError,
    Media,
    NotFound,
    OutcomeUnknownError,
    PublishJob,
    PublishResult,
    TransientError,
)
from everpost_workers.publishers.http_api import HttpApi
from everpost_workers.publishers.mastodon.options import MastodonOptions, server_of
from everpost_workers.publishers.mastodon.sent import (
    MARGIN_MS,
    Kept,
    created_ms,
    digest_of,
    is_ours,
    read_kept,
    sent_digest,
)
from everpost_workers.publishers.mastodon.server import Known, Server
from everpost_workers.publishers.mastodon.status import Content, read_content

REMEMBERED_S = 3_600  # what a server said about itself
HIDDEN = frozenset({"private", "direct"})
MOST_PAGES = 10
MOST_SOURCES = 10  # of a page; each is a request
LATE_MS = 60_000  # a status that was sent less than that ago may still be on its way
LOOKS = 5  # then there are several looks,
PAUSE_S = 1.5  # with these pauses; all within the time that a look-up has


class Poster:
    """Posts for all accounts of one platform."""

    def __init__(self, options: MastodonOptions, connections: int, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._api = HttpApi(connections=connections, allow_http=options.allow_http, allow_private=options.allow_private)
        self._known: dict[tuple[str, str], Known] = {}

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def publish(self, job: PublishJob) -> PublishResult:
        """Post a task; see `MastodonPublisher`."""
        job.trace.nothing_sent()
        known = await self._known_of(job.account)
        content = read_content(job.data, job.files, known.limits)
        kept = read_kept(job.saved, digest_of(content, [_identity(media) for media in job.files]))
        if kept.sent_at_ms is not None and (found := await self._find_before_repeating(known, kept)) is not None:
            return _result(found)
        await _Upload(job, content, known.server, kept).finish()
        server_ms = self._clock() + known.server.ahead_ms
        kept.sent_at_ms = server_ms if kept.sent_at_ms is None else min(kept.sent_at_ms, server_ms)
        digest = sent_digest(content.text, content.spoiler_text, len(job.files))
        kept.sent_digests = sorted({*kept.sent_digests, digest})
        kept.sent_media_ids = sorted({*kept.sent_media_ids, *kept.media_ids})
        kept.is_hidden = kept.is_hidden or (content.visibility or known.privacy) in HIDDEN
        kept.last_sent_ms = self._clock()
        await job.checkpoint(msgspec.to_builtins(kept))
        return _result(await known.server.post_status(content.form(kept.media_ids), job))

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        """Look through the account's own statuses since the first attempt sent one."""
        kept = read_kept(job.saved)
        if kept.sent_at_ms is None:
            return NotFound.NOT_FOUND  # it is kept before anything is sent
        known = await self._known_of(job.account)
        is_late = self._clock() - kept.last_sent_ms < LATE_MS
        for look in range(LOOKS if is_late else 1):
            if look:
                await asyncio.sleep(PAUSE_S)
            if (found := await self._find(known, kept)) is not None:
                return found if isinstance(found, NotFound) else _result(found)
        return NotFound.NOT_FOUND

    async def check_account(self, account: Account) -> str:
        """The account's name, as its server says.

        Raises:
            PublishError: The server does not accept the token.
        """
        self._known.pop(await self._key_of(account), None)
        known = await self._known_of(account)
        return f"{known.acct} on {known.server.host}"

    async def _find_before_repeating(self, known: Known, kept: Kept) -> dict[str, Any] | None:
        """The status that an earlier attempt made: a server may not know the key, or may still be working on it.

        Raises:
            OutcomeUnknownError: The server does not say.
        """
        try:
            found = await self._find(known, kept)
        except TransientError as error:
            raise OutcomeUnknownError(f"An earlier attempt may have posted it; then: {error}") from error
        if isinstance(found, NotFound):
            raise OutcomeUnknownError("An earlier attempt may have posted it, and the server does not list it.")
        return found

    async def _find(self, known: Known, kept: Kept) -> dict[str, Any] | NotFound | None:
        """The status; None if it does not exist; NO_VERDICT if there are too many to search, or it may not be listed.

        Mastodon lists all statuses of the account to itself. Servers that ignore keys may list the public ones only.
        """
        assert kept.sent_at_ms is not None, "nothing was sent"
        since_ms, before = kept.sent_at_ms - MARGIN_MS, None
        for _ in range(MOST_PAGES):
            page = await known.server.read_statuses(known.account_id, before)
            recent = [status for status in page if (created_ms(status) or since_ms) >= since_ms]
            if (found := await _recognised(recent, known.server, kept)) is not None:
                return found
            times = [made_ms for status in page if (made_ms := created_ms(status)) is not None]
            last = str(page[-1].get("id")) if page else None
            if not page or last == before or (times and min(times) < since_ms):
                return NotFound.NO_VERDICT if kept.is_hidden and not self._options.key_lifetime_s else None
            before = last
        return NotFound.NO_VERDICT

    async def _known_of(self, account: Account) -> Known:
        key = await self._key_of(account)
        known = self._known.get(key)
        if known is None or time.monotonic() - known.read_at_s > REMEMBERED_S:
            known = self._known[key] = await self._ask(*key)
        return known

    async def _ask(self, address: str, token: str) -> Known:
        server = Server(self._api, address, token, self._options, self._clock)
        account = await server.read_account()
        limits = await server.read_limits()
        if not account.get("id"):
            raise AuthError(f"{server.host} does not say whose token it is.")
        source = account.get("source")
        privacy = source.get("privacy") if isinstance(source, dict) else None
        return Known(
            server=server,
            account_id=str(account["id"]),
            acct=str(account.get("acct") or ""),
            privacy=str(privacy or ""),
            limits=limits,
            read_at_s=time.monotonic(),
        )

    async def _key_of(self, account: Account) -> tuple[str, str]:
        token = (await account.credentials()).get("access_token")
        if not token:
            raise AuthError("The account has no credential named access_token.")
        return server_of(account, self._options), token


async def _recognised(recent: Sequence[dict[str, Any]], server: Server, kept: Kept) -> dict[str, Any] | None:
    """The status that an earlier attempt made, among statuses since then."""
    for status in recent:
        if is_ours(status, kept):
            return status
    for status in recent[:MOST_SOURCES]:  # the HTML of some servers does not show the text as it was sent
        source = await server.read_source(str(status.get("id")))
        if source is not None and is_ours(status, kept, source):
            return status
    return None


class _Upload:
    """The uploads of one attempt."""

    def __init__(self, job: PublishJob, content: Content, server: Server, kept: Kept) -> None:
        self._job = job
        self._content = content
        self._server = server
        self._kept = kept
        self._processing: list[str] = []

    async def finish(self) -> None:
        """Upload the files that are not uploaded yet, and wait until all are processed."""
        if not await self._are_processed(self._kept.media_ids):
            self._kept.media_ids = []  # the server deletes files that are not attached for a day
        await self._upload(self._job.files)
        if not await self._are_processed(self._processing):
            raise TransientError(f"{self._server.host} lost an uploaded file.")

    async def _are_processed(self, media_ids: Sequence[str]) -> bool:
        for media_id in media_ids:
            if not await self._server.wait_until_processed(media_id):
                return False
        return True

    async def _upload(self, files: Sequence[Media]) -> None:
        total = sum(media.size_bytes for media in files)
        before = sum(media.size_bytes for media in files[: len(self._kept.media_ids)])
        for number in range(len(self._kept.media_ids), len(files)):
            media, offset = files[number], before

            def report(done: int, offset: int = offset) -> None:
                self._job.progress(offset + done, total)

            media_id, is_processed = await self._server.upload(media, self._content.alts[number], report)
            self._kept.media_ids.append(media_id)
            before += media.size_bytes
            await self._job.checkpoint(msgspec.to_builtins(self._kept))
            if not is_processed:
                self._processing.append(media_id)


def _identity(media: Media) -> tuple[str, int, str | None]:
    return media.filename, media.size_bytes, media.sha256


def _result(status: dict[str, Any]) -> PublishResult:
    url = status.get("url") or status.get("uri")
    is_address = isinstance(url, str) and url.startswith(("https://", "http://"))
    return PublishResult(
        provider_post_id=str(status["id"]) if status.get("id") is not None else None,
        publish_url=url if is_address else None,
        detail={"uri": status.get("uri"), "visibility": status.get("visibility")},
    )
