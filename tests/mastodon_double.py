"""A double of a Mastodon server, page by page as docs.joinmastodon.org describes it.

- https://docs.joinmastodon.org/methods/statuses/#create: the parameters, the answers 200, 401 and 422, and
  "Idempotency keys are stored for up to 1 hour".
- https://docs.joinmastodon.org/methods/statuses/#source: the text as it was sent.
- https://docs.joinmastodon.org/methods/media/#v2: 200 for small images, 202 with a null url for what is processed in
  the background, 422 for a type that is not supported.
- https://docs.joinmastodon.org/methods/media/#get: 206 while it is processed, 200 then, 404 if the account does not
  have it; "before it is attached to a status".
- https://docs.joinmastodon.org/methods/accounts/#statuses: at most 40 statuses, the newest first, older than `max_id`.
- https://docs.joinmastodon.org/methods/accounts/#verify_credentials: whose token it is.
- https://docs.joinmastodon.org/methods/instance/#v2 and https://docs.joinmastodon.org/entities/Instance/: the limits.
- https://docs.joinmastodon.org/api/rate-limits/: X-RateLimit-Limit, -Remaining and -Reset on every answer.
"""

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import msgspec

from publisher_kit import HttpDouble, Request, Response

TOKEN = "a-token-of-alice"
ACCOUNT_ID = "107"
KEY_LIFETIME = timedelta(hours=1)
MOST_LISTED = 40
ACCOUNT = {"id": ACCOUNT_ID, "username": "alice", "acct": "alice"}
NOT_FOUND = Response(404, {"error": "Record not found"})
TYPES = ["image/jpeg", "image/png", "image/gif", "image/webp", "video/mp4"]


class MastodonDouble(HttpDouble):
    """The server. One account, whose token is `TOKEN`.

    Attributes:
        remembers_keys: False for a server that ignores Idempotency-Key, as some with this API do.
        polls: How often a video is asked for before it is processed.
        statuses: What was posted, the oldest first.
        ahead: Added to the present time: moves the server's clock.
        account: What it says of the account.
    """

    def __init__(self) -> None:
        super().__init__(self._handle)
        self.remembers_keys = True
        self.polls = 2
        self.statuses: list[dict[str, Any]] = []
        self.media: dict[str, dict[str, Any]] = {}
        self.sources: dict[str, dict[str, str]] = {}
        self.ahead = timedelta()
        self.account: dict[str, Any] = ACCOUNT
        self._keys: dict[str, tuple[datetime, dict[str, Any]]] = {}
        self._polled: dict[str, int] = {}
        self._attached: set[str] = set()
        self._ids = 103_254_962_155_278_000

    def now(self) -> datetime:
        """The server's time."""
        return datetime.now(UTC) + self.ahead

    def _handle(self, request: Request) -> Response:
        response = self._routed(request)
        reset = self.now() + timedelta(minutes=5)
        headers = {
            "Date": format_datetime(self.now(), usegmt=True),
            "X-RateLimit-Limit": "300",
            "X-RateLimit-Remaining": "299",
            "X-RateLimit-Reset": shown(reset),
            **response.headers,
        }
        return msgspec.structs.replace(response, headers=headers)

    def _routed(self, request: Request) -> Response:
        if (request.method, request.path) == ("GET", "/api/v2/instance"):
            return Response(value=INSTANCE)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Response(401, {"error": "The access token is invalid"})
        for pattern, answer in self._routes.items():
            found = re.fullmatch(pattern, f"{request.method} {request.path}")
            if found is not None:
                return answer(request, *found.groups())
        return NOT_FOUND

    @property
    def _routes(self) -> dict[str, Callable[..., Response]]:
        return {
            r"GET /api/v1/accounts/verify_credentials": lambda _: Response(value=self.account),
            rf"GET /api/v1/accounts/{ACCOUNT_ID}/statuses": lambda request: self._list(request.query),
            r"POST /api/v2/media": self._upload,
            r"GET /api/v1/media/(\d+)": lambda _, media_id: self._media(media_id),
            r"POST /api/v1/statuses": self._create,
            r"GET /api/v1/statuses/(\d+)/source": lambda _, status_id: self._source(status_id),
        }

    def _source(self, status_id: str) -> Response:
        return Response(value=self.sources[status_id]) if status_id in self.sources else NOT_FOUND

    def _next_id(self) -> str:
        self._ids += 1
        return str(self._ids)

    def _upload(self, request: Request) -> Response:
        head = re.search(rb"Content-Type: ([^\r\n]+)", request.body)
        content_type = head[1].decode() if head else ""
        if content_type not in TYPES:
            return Response(422, {"error": "Validation failed: File content type is invalid, File is invalid"})
        parts = request.parts()
        is_video = content_type.startswith("video/")
        media_id = self._next_id()
        described = parts.get("description")
        self.media[media_id] = {
            "id": media_id,
            "type": "video" if is_video else "image",
            "url": None if is_video else f"https://files.example/{media_id}.png",
            "description": None if described is None else described.decode(),
            "content": parts["file"],
        }
        self._polled[media_id] = 0 if is_video else self.polls
        return Response(202 if is_video else 200, self._shown_media(media_id))

    def _media(self, media_id: str) -> Response:
        if media_id not in self.media or media_id in self._attached:
            return NOT_FOUND
        if self._polled[media_id] < self.polls:
            self._polled[media_id] += 1
            return Response(206)
        self.media[media_id]["url"] = f"https://files.example/{media_id}.mp4"
        return Response(200, self._shown_media(media_id))

    def _shown_media(self, media_id: str) -> dict[str, Any]:
        return {name: value for name, value in self.media[media_id].items() if name != "content"}

    def forget_media(self) -> None:
        """Delete what is not attached, as the server does after a day."""
        self.media = {media_id: media for media_id, media in self.media.items() if media_id in self._attached}

    def _create(self, request: Request) -> Response:
        key = request.headers.get("idempotency-key")
        if self.remembers_keys and key in self._keys and self.now() - self._keys[key][0] < KEY_LIFETIME:
            return Response(value=self._keys[key][1])
        form = request.form()
        fields = dict(form)
        ids = [value for name, value in form if name == "media_ids[]"]
        if not fields.get("status", "").strip() and not ids:
            return Response(422, {"error": "Validation failed: Text can't be blank"})
        if any(media_id not in self.media or media_id in self._attached for media_id in ids):
            return Response(422, {"error": f"Media with IDs {', '.join(ids)} not found or already attached"})
        status = self._status(fields, ids)
        self.statuses.append(status)
        if key is not None:
            self._keys[key] = (self.now(), status)
        return Response(value=status)

    def _status(self, fields: dict[str, str], ids: list[str]) -> dict[str, Any]:
        status_id = self._next_id()
        self._attached |= set(ids)
        text, spoiler_text = fields.get("status", ""), fields.get("spoiler_text", "")
        self.sources[status_id] = {"id": status_id, "text": text, "spoiler_text": spoiler_text}
        return {
            "id": status_id,
            "created_at": shown(self.now()),
            "in_reply_to_id": fields.get("in_reply_to_id"),
            "sensitive": fields.get("sensitive") == "true" or bool(spoiler_text),
            "spoiler_text": spoiler_text,
            "visibility": fields.get("visibility", "public"),
            "language": fields.get("language"),
            "uri": f"https://mastodon.example/users/alice/statuses/{status_id}",
            "url": f"https://mastodon.example/@alice/{status_id}",
            "content": to_html(text),
            "reblog": None,
            "media_attachments": [self._shown_media(media_id) for media_id in ids],
        }

    def _list(self, query: dict[str, str]) -> Response:
        newest_first = self.statuses[::-1]
        if "max_id" in query:
            newest_first = [status for status in newest_first if int(status["id"]) < int(query["max_id"])]
        return Response(value=newest_first[: min(int(query.get("limit", 20)), MOST_LISTED)])


def shown(time: datetime) -> str:
    """A time as the API shows it (https://docs.joinmastodon.org/api/datetime-format/)."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_html(text: str) -> str:
    """A status's text as HTML: paragraphs, addresses with hidden parts, mentions without the server."""
    body = html.escape(text)
    body = re.sub(r"https?://\S+", _link, body)
    body = re.sub(
        r"@([A-Za-z0-9_]+)@[A-Za-z0-9.-]*[A-Za-z0-9]",
        r'<span class="h-card"><a href="https://x" class="u-url mention">@<span>\1</span></a></span>',
        body,
    )
    body = re.sub(r"#(\w+)", r'<a href="https://x" class="mention hashtag">#<span>\1</span></a>', body)
    paragraphs = [part.replace("\n", "<br />") for part in body.split("\n\n") if part]
    return "".join(f"<p>{part}</p>" for part in paragraphs)


def _link(found: re.Match[str]) -> str:
    scheme, _, rest = found[0].partition("://")
    return (
        f'<a href="{found[0]}"><span class="invisible">{scheme}://</span><span class="ellipsis">{rest[:30]}</span>'
        f'<span class="invisible">{rest[30:]}</span></a>'
    )


INSTANCE = {
    "domain": "mastodon.example",
    "version": "4.5.0",
    "configuration": {
        "statuses": {"max_characters": 500, "max_media_attachments": 4, "characters_reserved_per_url": 23},
        "media_attachments": {
            "supported_mime_types": TYPES,
            "description_limit": 1500,
            "image_size_limit": 16_777_216,
            "video_size_limit": 103_809_024,
        },
    },
}
