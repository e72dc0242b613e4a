"""A double of the parts of Google's servers that `youtube` uses. It follows Google's pages.

- resumable uploads: https://developers.google.com/youtube/v3/guides/using_resumable_upload_protocol
- videos.insert: https://developers.google.com/youtube/v3/docs/videos/insert
- thumbnails.set: https://developers.google.com/youtube/v3/docs/thumbnails/set
- playlistItems.insert: https://developers.google.com/youtube/v3/docs/playlistItems/insert
- playlistItems.list: https://developers.google.com/youtube/v3/docs/playlistItems/list
- channels.list: https://developers.google.com/youtube/v3/docs/channels/list
- errors: https://developers.google.com/youtube/v3/docs/errors
- access tokens: https://developers.google.com/identity/protocols/oauth2/web-server#offline
"""

import re
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from publisher_kit import HttpDouble, Request, Response

VIDEOS = "/upload/youtube/v3/videos"
SESSIONS = "/upload/session/"
THUMBNAILS = "/upload/youtube/v3/thumbnails/set"
PLAYLIST_ITEMS = "/youtube/v3/playlistItems"
CHANNELS = "/youtube/v3/channels"
TOKEN = "/token"
UNIT = 262_144  # "the size of a chunk must be a multiple of 256 KB, unless it is the last one"
CLIENT = {"client_id": "client-1", "client_secret": "client-secret-1", "refresh_token": "refresh-secret-1"}


def refusal(status: int, reason: str, **headers: str) -> Response:
    """An error as the page on errors shows it."""
    error = {"code": status, "message": f"It is {reason}.", "errors": [{"reason": reason, "domain": "youtube"}]}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, {"error": error}, headers=named)


class UploadSession(msgspec.Struct):
    """A resumable session."""

    resource: dict[str, Any]
    total: int
    received: int = 0
    video_id: str | None = None
    is_gone: bool = False


class YouTube:
    """The servers. Every video, thumbnail and item of a playlist that they have is in a list.

    Attributes:
        keeps: Of the next parts, only so many bytes each are kept, as after a broken connection.
        loses: The next answers to requests for these paths are lost, after the request was carried out.
    """

    def __init__(self) -> None:
        self.http = HttpDouble(self._answer)
        self.tokens = {"access-secret-0"}
        self.refreshed = 0
        self.sessions: dict[str, UploadSession] = {}
        self.videos: list[dict[str, Any]] = []
        self.thumbnails: dict[str, bytes] = {}
        self.playlists: list[tuple[str, str]] = []
        self.keeps: list[int] = []
        self.loses: list[str] = []

    def serve(self) -> AbstractAsyncContextManager[HttpDouble]:
        """Listen on a free port."""
        return self.http.serve()

    def _answer(self, request: Request) -> Response:
        response = self._carry_out(request)
        lost = next((path for path in self.loses if path in request.path), None)
        if lost is not None:
            self.loses.remove(lost)
            response.hangs_up = True
        return response

    def _carry_out(self, request: Request) -> Response:
        if request.path == TOKEN:
            return self._refresh(request)
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return refusal(401, "authError", WWW_Authenticate='Bearer realm="https://accounts.google.com/"')
        if request.path.startswith(SESSIONS):
            return self._receive(request)
        handlers = {
            ("POST", VIDEOS): self._begin,
            ("POST", THUMBNAILS): self._set_thumbnail,
            ("POST", PLAYLIST_ITEMS): self._add_to_playlist,
            ("GET", PLAYLIST_ITEMS): self._list_playlist,
            ("GET", CHANNELS): self._list_channels,
        }
        handler = handlers.get((request.method, request.path))
        return handler(request) if handler else refusal(404, "notFound")

    def _refresh(self, request: Request) -> Response:
        form = dict(request.form())
        if form.pop("grant_type", None) != "refresh_token" or form != CLIENT:
            return Response(400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."})
        self.refreshed += 1
        token = f"access-secret-{self.refreshed}"
        self.tokens.add(token)
        return Response(200, {"access_token": token, "expires_in": 3920, "token_type": "Bearer"})

    def _begin(self, request: Request) -> Response:
        """Step 1: the body is the resource, the headers tell size and type; step 2: Location has the session."""
        assert request.query["uploadType"] == "resumable"
        assert request.query["part"] == "snippet,status"
        assert request.headers["content-type"] == "application/json; charset=UTF-8"
        assert request.headers["x-upload-content-type"].startswith("video/")
        resource = request.json()
        if not resource["snippet"]["categoryId"].isdigit():
            return refusal(400, "invalidCategoryId")
        path = f"{SESSIONS}{len(self.sessions) + 1}"
        self.sessions[path] = UploadSession(resource, int(request.headers["x-upload-content-length"]))
        return Response(200, headers={"Location": f"http://{request.headers['host']}{path}"})

    def _receive(self, request: Request) -> Response:
        """Step 3, and step 4 for a Content-Range without bytes."""
        session = self.sessions.get(request.path)
        if session is None or session.is_gone:
            return refusal(404, "notFound")
        found = re.fullmatch(r"bytes (?:\*|(\d+)-(\d+))/(\d+)", request.headers["content-range"])
        assert found is not None
        assert int(found[3]) == session.total
        if session.video_id is None and found[1] is not None:
            start, end = int(found[1]), int(found[2])
            assert len(request.body) == end - start + 1
            assert end + 1 == session.total or len(request.body) % UNIT == 0
            if start != session.received:
                return refusal(400, "badContentRange")
            session.received += min(len(request.body), self.keeps.pop(0) if self.keeps else len(request.body))
        if session.video_id is None and session.received == session.total:
            session.video_id = f"video{len(self.videos) + 1}"
            self.videos.append({"id": session.video_id, **session.resource})
        if session.video_id is not None:
            resource = next(video for video in self.videos if video["id"] == session.video_id)
            return Response(201, {"kind": "youtube#video", **resource})
        headers = {"Range": f"bytes=0-{session.received - 1}"} if session.received else {}
        return Response(308, headers=headers)

    def _list_channels(self, _: Request) -> Response:
        return Response(200, {"items": [{"snippet": {"title": "The channel"}}]})

    def _set_thumbnail(self, request: Request) -> Response:
        if not any(video["id"] == request.query["videoId"] for video in self.videos):
            return refusal(404, "videoNotFound")
        if not request.body:
            return refusal(400, "mediaBodyRequired")
        self.thumbnails[request.query["videoId"]] = request.body
        return Response(200, {"kind": "youtube#thumbnailSetResponse", "items": []})

    def _add_to_playlist(self, request: Request) -> Response:
        snippet = request.json()["snippet"]
        assert snippet["resourceId"]["kind"] == "youtube#video"
        self.playlists.append((snippet["playlistId"], snippet["resourceId"]["videoId"]))
        return Response(200, {"kind": "youtube#playlistItem"})

    def _list_playlist(self, request: Request) -> Response:
        """The items of a playlist; `videoId` leaves those of one video, and `maxResults` is 0 to 50."""
        assert request.query["part"] == "id"
        assert 0 <= int(request.query["maxResults"]) <= 50
        wanted = (request.query["playlistId"], request.query["videoId"])
        items = [
            {"kind": "youtube#playlistItem", "id": str(number)}
            for number, item in enumerate(self.playlists)
            if item == wanted
        ]
        return Response(200, {"kind": "youtube#playlistItemListResponse", "items": items})
