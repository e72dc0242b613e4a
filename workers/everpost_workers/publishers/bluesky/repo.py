"""An account's repository on its PDS: the requests that a post needs."""

from collections.abc import Mapping
from typing import Any

import msgspec

from everpost.clock import Clock
from everpost.publishing import Account, Media, OutcomeUnknownError, PublishError, PublishJob, TransientError
from everpost_workers.publishers.api_answer import ApiAnswer
from everpost_workers.publishers.bluesky.options import BlueskyOptions
from everpost_workers.publishers.bluesky.record import COLLECTION
from everpost_workers.publishers.bluesky.session import Session, Sessions
from everpost_workers.publishers.bluesky.xrpc import error_name, error_of, is_expired
from everpost_workers.publishers.http_api import ApiRequest, HttpApi
from everpost_workers.publishers.uploads import Report, whole_file


class OtherRecordError(Exception):
    """The key already has another record."""


class MissingBlobError(Exception):
    """The server no longer has a file that was uploaded for this post."""


class Written(msgspec.Struct, frozen=True):
    """A record that is in the repository."""

    uri: str
    cid: str | None


class Repo:
    """The repository of one account; `session` is renewed when the server asks for that."""

    def __init__(
        self,
        api: HttpApi,
        sessions: Sessions,
        account: Account,
        session: Session,
        options: BlueskyOptions,
        clock: Clock,
    ) -> None:
        self._api = api
        self._sessions = sessions
        self._account = account
        self._options = options
        self._clock = clock
        self.session = session

    async def put_record(self, key: str, record: Mapping[str, Any], job: PublishJob) -> Written:
        """Write the post. The same record under the same key changes nothing, however often it is sent.

        `swapRecord: null` lets the server refuse to replace another record.

        Raises:
            OtherRecordError: The key has another record.
            MissingBlobError: A file of the record must be uploaded again.
            PublishError: It was not written; an OutcomeUnknownError if it may have been.
        """
        body = {
            "repo": self.session.did,
            "collection": COLLECTION,
            "rkey": key,
            "record": record,
            "swapRecord": None,
        }
        answer = await self._post("com.atproto.repo.putRecord", body, job)
        if answer.is_success:
            uri = answer.text_at("uri")
            if uri is None:  # cut off, or the answer of something before the server
                raise OutcomeUnknownError(f"{self.session.host} answered {answer.status} without the record.")
            return Written(uri, answer.text_at("cid"))
        name = error_name(answer)
        if name == "InvalidSwap":
            raise OtherRecordError
        if name in {"BlobNotFound", "InvalidBlob"} or "Could not find blob" in (answer.text_at("message") or ""):
            raise MissingBlobError
        raise self._error(answer, posts=True)

    async def get_record(self, key: str) -> tuple[Written, Any] | None:
        """The record under a key; None if the key has no record.

        Raises:
            PublishError: The server does not say.
        """
        params = {"repo": self.session.did, "collection": COLLECTION, "rkey": key}
        answer = await self.get("com.atproto.repo.getRecord", params)
        if answer.is_success:
            uri = answer.text_at("uri")
            if uri is None:
                raise TransientError(f"{self.session.host} answered {answer.status} without the record.")
            return Written(uri, answer.text_at("cid")), answer.object().get("value")
        if error_name(answer) == "RecordNotFound" or "Could not locate record" in (answer.text_at("message") or ""):
            return None
        raise self._error(answer)

    async def upload_blob(self, media: Media, report: Report) -> Any:
        """Upload a file, and return the reference that a record embeds.

        Raises:
            PublishError: It was not uploaded.
        """
        upload = whole_file(media, report)
        request = ApiRequest(
            method="POST",
            url=self._url("com.atproto.repo.uploadBlob"),
            headers=upload.headers,
            content=upload.make,
            timeout_s=self._options.timeout_s,
        )
        answer = await self._send(request)
        if not answer.is_success:
            raise self._error(answer)
        blob = answer.object().get("blob")
        if not isinstance(blob, dict):
            raise TransientError(f"{self.session.host} took the file and gave no reference to it.")
        return blob

    async def find_did(self, handle: str) -> str | None:
        """The DID of a handle; None if it has none.

        Raises:
            PublishError: The server does not say, for now.
        """
        answer = await self.get("com.atproto.identity.resolveHandle", {"handle": handle})
        if answer.is_success:
            return answer.text_at("did")
        error = self._error(answer)
        if answer.is_server_error or answer.status == 429:  # noqa: PLR2004 - too many requests
            raise error
        return None

    async def get(self, method: str, params: Mapping[str, str]) -> ApiAnswer:
        """Ask the account's server."""
        request = ApiRequest(
            method="GET",
            url=self._url(method),
            params=params,
            timeout_s=self._options.timeout_s,
            deadline_s=self._options.timeout_s,
        )
        return await self._send(request)

    async def _post(self, method: str, body: Mapping[str, Any], job: PublishJob) -> ApiAnswer:
        request = ApiRequest(
            method="POST",
            url=self._url(method),
            headers={"Content-Type": "application/json"},
            content=msgspec.json.encode(body),
            timeout_s=self._options.timeout_s,
            deadline_s=self._options.timeout_s,
            posts=True,
            trace=job.trace,
        )
        return await self._send(request)

    async def _send(self, request: ApiRequest) -> ApiAnswer:
        """Send it, with a renewed session if the server no longer accepts the present one."""
        answer = await self._send_once(request)
        if is_expired(answer):
            self.session = await self._sessions.renewed(self._account, self.session)
            answer = await self._send_once(request)
        return answer

    async def _send_once(self, request: ApiRequest) -> ApiAnswer:
        headers = {**request.headers, **self.session.headers}
        return await self._api.send(msgspec.structs.replace(request, headers=headers))

    def _url(self, method: str) -> str:
        return f"{self.session.pds}/xrpc/{method}"

    def _error(self, answer: ApiAnswer, *, posts: bool = False) -> PublishError:
        return error_of(answer, self.session.host, self._clock(), posts=posts)
