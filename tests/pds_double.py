"""A double of a Bluesky PDS and of the video service, for faults that a real server does not make on request.

- https://docs.bsky.app/docs/api/com-atproto-server-create-session, -refresh-session, -get-session, -get-service-auth
- https://docs.bsky.app/docs/api/com-atproto-repo-put-record, -get-record, -upload-blob
- https://docs.bsky.app/docs/api/com-atproto-identity-resolve-handle
- https://docs.bsky.app/docs/tutorials/video: `uploadVideo`, `getJobStatus`, and `already_exists` with the blob
- https://docs.bsky.app/docs/advanced-guides/rate-limits: 429 and the header RateLimit-Reset
- https://atproto.com/specs/xrpc: the form of errors

`tests/peers` runs the same publisher against the real PDS.
"""

import base64
import hashlib
import time
from collections.abc import Callable
from typing import Any

import msgspec

from publisher_kit import HttpDouble, Request, Response

DID = "did:plc:alice"
PASSWORD = "an-app-password"
HANDLES = {"alice.test": DID, "bob.test": "did:plc:bob"}


class PdsDouble(HttpDouble):
    """The server. One account: `alice.test`.

    Attributes:
        records: By their keys; the value and its cid.
        commits: How often a record was written or changed.
        token_lifetime_s: Of access tokens that are given from now on.
        polls: How often a video's job is asked for before it is done; its failure if `video_failure` is set.
    """

    def __init__(self) -> None:
        super().__init__(self._handle)
        self.records: dict[str, tuple[Any, str]] = {}
        self.commits = 0
        self.blobs: dict[str, dict[str, Any]] = {}
        self.token_lifetime_s = 7_200
        self.polls = 2
        self.video_failure: dict[str, str] | None = None
        self._access: set[str] = set()
        self._refresh: set[str] = set()
        self._given = 0
        self._jobs: dict[str, list[Any]] = {}

    def expire_access(self) -> None:
        """Let every access token end."""
        self._access.clear()

    def expire_all(self) -> None:
        """Let every token end."""
        self._access.clear()
        self._refresh.clear()

    def count(self, method: str) -> int:
        """How often a method was called."""
        return sum(request.path.endswith(method) for request in self.requests)

    def _handle(self, request: Request) -> Response:
        method = request.path.rpartition("/")[2]
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        without_session: dict[str, Callable[[], Response]] = {
            "com.atproto.server.createSession": lambda: self._create_session(request),
            "com.atproto.server.refreshSession": lambda: self._refresh_session(token),
            "app.bsky.video.uploadVideo": lambda: self._upload_video(request, token),
            "app.bsky.video.getJobStatus": lambda: self._job_status(request.query["jobId"]),
        }
        if method in without_session:
            return without_session[method]()
        if not token:
            return Response(401, {"error": "AuthMissing", "message": "Authentication Required"})
        if token not in self._access:
            return Response(400, {"error": "ExpiredToken", "message": "Token has expired"})
        return self._signed_in(method, request)

    def _signed_in(self, method: str, request: Request) -> Response:
        methods: dict[str, Callable[[], Response]] = {
            "com.atproto.server.getSession": lambda: Response(value=self._account()),
            "com.atproto.server.getServiceAuth": lambda: self._service_auth(request.query),
            "com.atproto.identity.resolveHandle": lambda: self._resolve(request.query["handle"]),
            "com.atproto.repo.uploadBlob": lambda: self._upload_blob(request),
            "com.atproto.repo.putRecord": lambda: self._put(request.json()),
            "com.atproto.repo.getRecord": lambda: self._get(request.query["rkey"]),
        }
        if method not in methods:
            return Response(501, {"error": "MethodNotImplemented", "message": method})
        return methods[method]()

    def _service_auth(self, query: dict[str, str]) -> Response:
        return Response(value={"token": f"service {query['aud']} {query['lxm']}"})

    def _resolve(self, handle: str) -> Response:
        if handle not in HANDLES:
            return Response(400, {"error": "HandleNotFound", "message": "Unable to resolve handle"})
        return Response(value={"did": HANDLES[handle]})

    def _upload_blob(self, request: Request) -> Response:
        return Response(value={"blob": self._keep_blob(request.body, request.headers["content-type"])})

    def _create_session(self, request: Request) -> Response:
        given = request.json()
        if given["identifier"] not in {"alice.test", DID} or given["password"] != PASSWORD:
            return Response(401, {"error": "AuthenticationRequired", "message": "Invalid identifier or password"})
        return Response(value=self._tokens())

    def _refresh_session(self, token: str) -> Response:
        if token not in self._refresh:
            return Response(400, {"error": "ExpiredToken", "message": "Token has been revoked"})
        self._refresh.discard(token)
        return Response(value=self._tokens())

    def _tokens(self) -> dict[str, Any]:
        self._given += 1
        access, refresh = (_jwt(f"{kind}{self._given}", self.token_lifetime_s) for kind in ("access", "refresh"))
        self._access.add(access)
        self._refresh.add(refresh)
        return {**self._account(), "accessJwt": access, "refreshJwt": refresh}

    def _account(self) -> dict[str, Any]:
        services = [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": self.url}]
        return {"did": DID, "handle": "alice.test", "didDoc": {"id": DID, "service": services}}

    def _keep_blob(self, content: bytes, content_type: str) -> dict[str, Any]:
        cid = "bafkrei" + hashlib.sha256(content).hexdigest()[:52]
        blob = {"$type": "blob", "ref": {"$link": cid}, "mimeType": content_type, "size": len(content)}
        self.blobs[cid] = blob
        return blob

    def _put(self, given: dict[str, Any]) -> Response:
        record, key = given["record"], given["rkey"]
        for blob in _blobs_in(record):
            if blob["ref"]["$link"] not in self.blobs:
                message = f"Could not find blob: {blob['ref']['$link']}"
                return Response(400, {"error": "BlobNotFound", "message": message})
        cid = "bafyrei" + hashlib.sha256(msgspec.json.encode(record, order="sorted")).hexdigest()[:52]
        uri = f"at://{DID}/{given['collection']}/{key}"
        present = self.records.get(key)
        if present is not None and present[1] == cid:
            return Response(value={"uri": uri, "cid": cid})
        if present is not None and "swapRecord" in given and given["swapRecord"] != present[1]:
            return Response(400, {"error": "InvalidSwap", "message": f"Record was at {present[1]}"})
        self.records[key] = (record, cid)
        self.commits += 1
        return Response(value={"uri": uri, "cid": cid, "commit": {"cid": cid, "rev": "3kabc"}})

    def _get(self, key: str) -> Response:
        if key not in self.records:
            return Response(400, {"error": "RecordNotFound", "message": "Could not locate record"})
        value, cid = self.records[key]
        return Response(value={"uri": f"at://{DID}/app.bsky.feed.post/{key}", "cid": cid, "value": value})

    def _upload_video(self, request: Request, token: str) -> Response:
        if not token.startswith("service did:web:") or not token.endswith("com.atproto.repo.uploadBlob"):
            return Response(401, {"error": "AuthMissing", "message": "no service token"})
        for job_id, (content, _) in self._jobs.items():
            if content == request.body:
                blob = self._keep_blob(content, "video/mp4")
                status = {"jobId": job_id, "did": DID, "state": "JOB_STATE_COMPLETED", "blob": blob}
                return Response(409, {**status, "error": "already_exists", "message": "Video already processed"})
        job_id = f"job{len(self._jobs) + 1}"
        self._jobs[job_id] = [request.body, 0]
        return Response(value={"jobId": job_id, "did": DID, "state": "JOB_STATE_CREATED"})

    def _job_status(self, job_id: str) -> Response:
        if job_id not in self._jobs:
            return Response(400, {"error": "InvalidRequest", "message": "no such job"})
        job = self._jobs[job_id]
        job[1] += 1
        status: dict[str, Any] = {"jobId": job_id, "did": DID, "state": "JOB_STATE_ENCODING", "progress": 50}
        if job[1] > self.polls:
            status["state"] = "JOB_STATE_COMPLETED"
            status["blob"] = self._keep_blob(job[0], "video/mp4")
            if self.video_failure is not None:
                status = {"jobId": job_id, "did": DID, "state": "JOB_STATE_FAILED", **self.video_failure}
        return Response(value={"jobStatus": status})


def _jwt(name: str, lifetime_s: float) -> str:
    claims = msgspec.json.encode({"exp": int(time.time() + lifetime_s), "jti": name})
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.{name}"


def _blobs_in(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("$type") == "blob":
            return [value]
        return [blob for inner in value.values() for blob in _blobs_in(inner)]
    return [blob for inner in value for blob in _blobs_in(inner)] if isinstance(value, list) else []
