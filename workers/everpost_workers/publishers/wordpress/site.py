"""Calls of one WordPress site, with an application password.

https://developer.wordpress.org/rest-api/reference/ and
https://make.wordpress.org/core/2020/11/05/application-passwords-integration-guide/
"""

import base64
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from everpost.clock import Clock
from everpost.publishing import (
    Account,
    AuthError,
    InvalidError,
    Media,
    OutcomeUnknownError,
    PermanentError,
    PublishError,
    PublishJob,
    TransientError,
)
from everpost_workers.publishers.api_answer import ApiAnswer, clean_text
from everpost_workers.publishers.http_api import ApiRequest, Body, HttpApi
from everpost_workers.publishers.uploads import whole_file
from everpost_workers.publishers.wordpress.options import WordPressOptions
from everpost_workers.publishers.wordpress.post import Attachment

JSON = {"Content-Type": "application/json"}
TERM_EXISTS = "term_exists"
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}\Z")

KIND_OF_STATUS: Mapping[int, type[PublishError]] = {
    HTTPStatus.BAD_REQUEST: InvalidError,
    HTTPStatus.UNAUTHORIZED: AuthError,
    HTTPStatus.FORBIDDEN: AuthError,  # also if the user may not publish
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: InvalidError,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: InvalidError,
    HTTPStatus.UNPROCESSABLE_ENTITY: InvalidError,
}


class Site:
    """A site as one account sees it."""

    def __init__(self, api: HttpApi, options: WordPressOptions, account: Account, clock: Clock) -> None:
        self._api = api
        self._timeout_s = options.timeout_s
        self._account = account
        self._clock = clock
        url = account.options.get("url", options.url)
        if not isinstance(url, str) or not url:
            raise InvalidError("The account has no option `url`, the address of its site.")
        self._url = url.rstrip("/") + "/"

    async def name_of_user(self) -> str:
        """The name of the account's user."""
        answer = await self._send("GET", "/wp/v2/users/me", {"context": "edit", **only("name")}, None, {})
        if not answer.is_success:
            raise self._error_of(answer, "the account")
        return str(answer.object().get("name", ""))

    async def upload(self, job: PublishJob, media: Media) -> Attachment:
        """Add a file to the site's media."""
        body = whole_file(media, lambda done: job.progress(done, media.size_bytes))
        suffix = _SUFFIX.search(media.filename)
        name = f"{job.idempotency_key[:12]}{suffix.group().lower() if suffix else ''}"
        headers = {**body.headers, "Content-Disposition": f'attachment; filename="{name}"'}
        what, fields = f"the file {media.filename!a}", only("id", "source_url")
        made = await self._post("/wp/v2/media", body.make, what, headers, fields)
        url = made.get("source_url")
        if not isinstance(url, str) or not url:
            raise TransientError(f"WordPress's answer to {what} has no address.")
        attachment = Attachment(made["id"], url, media.content_type.partition("/")[0], media.alt or "")
        if media.alt:
            alt, route = _encoded({"alt_text": media.alt}), f"/wp/v2/media/{attachment.id}"
            await self._post(route, alt, "the file's description", JSON, only("id"))
        return attachment

    async def term(self, taxonomy: str, name: str) -> int:
        """The id of a category or tag, which is made if the site does not have it."""
        answer = await self._send("POST", f"/wp/v2/{taxonomy}", only("id"), _encoded({"name": name}), JSON)
        found = answer.object()
        if not answer.is_success and found.get("code") != TERM_EXISTS:
            if answer.status == HTTPStatus.BAD_REQUEST and not found:  # of `term_exists`, with its end cut off
                raise TransientError(f"WordPress's answer about {taxonomy} is not JSON.")
            raise self._error_of(answer, taxonomy)
        if not found:  # an answer without a length that was cut off looks whole, except that it is not JSON
            raise TransientError(f"WordPress's answer about {taxonomy} is not JSON.")
        data = found.get("data")
        term_id = found.get("id") if answer.is_success else data.get("term_id") if isinstance(data, dict) else None
        if not isinstance(term_id, int):
            raise PermanentError(f"WordPress names no id of {name!a} in {taxonomy}.")
        return term_id

    async def find_draft(self, slug: str) -> int | None:
        """The draft with this slug."""
        params = {"slug": slug, "status": "draft", "context": "edit", **only("id")}
        answer = await self._send("GET", "/wp/v2/posts", params, None, {})
        if answer.status == HTTPStatus.BAD_REQUEST:  # a visitor, as whom it takes us, may not ask for drafts
            raise AuthError("WordPress does not accept the user name and password.")
        if not answer.is_success:
            raise self._error_of(answer, "a look for the draft")
        posts = answer.value()
        if not isinstance(posts, list):
            raise TransientError("WordPress's answer to a look for the draft is not a list.")
        return next((post["id"] for post in posts if isinstance(post, dict) and isinstance(post.get("id"), int)), None)

    async def make_draft(self, body: bytes) -> int:
        """Make a draft, which only the site's editors can see."""
        return int((await self._post("/wp/v2/posts", body, "the draft", JSON, only("id")))["id"])

    async def publish(self, post_id: int, body: bytes, job: PublishJob) -> dict[str, Any]:
        """Publish the draft.

        Raises:
            OutcomeUnknownError: No whole answer came.
            PublishError: It is not published.
        """
        answer = await self._send("POST", f"/wp/v2/posts/{post_id}", POST_FIELDS, body, JSON, job)
        if answer.is_server_error:
            raise OutcomeUnknownError(f"WordPress answered {answer.status} while it published.")
        if not answer.is_success:
            raise self._error_of(answer, "the post")
        post = answer.object()
        if post.get("id") != post_id:  # cut off, or the answer of something before the site
            raise OutcomeUnknownError(f"WordPress answered {answer.status} without the post.")
        return post

    async def find_post(self, post_id: int) -> dict[str, Any] | None:
        """The post; None if it is deleted."""
        answer = await self._send("GET", f"/wp/v2/posts/{post_id}", {"context": "edit", **POST_FIELDS}, None, {})
        if answer.status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
            return None
        if not answer.is_success:
            raise self._error_of(answer, "a look for the post")
        post = answer.object()
        if post.get("id") != post_id:
            raise TransientError("WordPress's answer to a look for the post does not have it.")
        return post

    async def _post(
        self, route: str, content: bytes | Body, what: str, headers: Mapping[str, str], params: Mapping[str, str]
    ) -> dict[str, Any]:
        answer = await self._send("POST", route, params, content, headers)
        if not answer.is_success:
            raise self._error_of(answer, what)
        found = answer.object()
        if not isinstance(found.get("id"), int):
            raise TransientError(f"WordPress's answer to {what} has no id.")
        return found

    async def _send(
        self,
        method: str,
        route: str,
        params: Mapping[str, str],
        content: bytes | Body | None,
        headers: Mapping[str, str],
        posts: PublishJob | None = None,
    ) -> ApiAnswer:
        """Call a route. `rest_route` works on every site, whatever its permalinks are."""
        credentials = await self._account.credentials()
        missing = [name for name in ("username", "password") if not credentials.get(name)]
        if missing:
            raise AuthError(f"The account has no credential {', '.join(missing)}.")
        user = f"{credentials['username']}:{credentials['password']}".encode()
        request = ApiRequest(
            method=method,
            url=self._url,
            params={"rest_route": route, **params},
            headers={**headers, "Authorization": f"Basic {base64.b64encode(user).decode()}"},
            content=content,
            timeout_s=self._timeout_s,
            deadline_s=None if callable(content) else self._timeout_s,
            posts=posts is not None,
            trace=None if posts is None else posts.trace,
        )
        return await self._api.send(request)

    def _error_of(self, answer: ApiAnswer, what: str) -> PublishError:
        words = clean_text(answer.text_at("message") or "") or answer.excerpt
        told = f"WordPress refuses {what}: {answer.status} {answer.text_at('code') or ''}: {words}".rstrip(".: ") + "."
        is_limit = answer.status == HTTPStatus.SERVICE_UNAVAILABLE and "Retry-After" in answer.headers
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS or is_limit:
            return answer.rate_limit("WordPress", None, self._clock())
        if answer.is_server_error:
            return TransientError(told)
        return KIND_OF_STATUS.get(answer.status, PermanentError)(told)


def only(*fields: str) -> dict[str, str]:
    """Ask for these fields of an answer only: WordPress then does not render the post.

    https://developer.wordpress.org/rest-api/using-the-rest-api/global-parameters/#_fields
    """
    return {"_fields": ",".join(fields)}


POST_FIELDS = only("id", "status", "link", "slug")


def _encoded(body: dict[str, Any]) -> bytes:
    return msgspec.json.encode(body)
