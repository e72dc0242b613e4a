"""A double of the parts of WordPress's REST API that `wordpress` uses; `tests/peers` has the real one.

- posts: https://developer.wordpress.org/rest-api/reference/posts/
- media: https://developer.wordpress.org/rest-api/reference/media/
- tags and categories: https://developer.wordpress.org/rest-api/reference/tags/
- application passwords: https://developer.wordpress.org/rest-api/using-the-rest-api/authentication/
- `_fields`: https://developer.wordpress.org/rest-api/using-the-rest-api/global-parameters/
- errors, such as `term_exists` with the term's id: https://developer.wordpress.org/rest-api/using-the-rest-api/
"""

import base64
from typing import Any

from publisher_kit import HttpDouble, Request, Response

USER, PASSWORD = "editor", "application-secret"


def refusal(status: int, code: str, message: str, **data: Any) -> Response:
    """An error as WordPress words it."""
    return Response(status, {"code": code, "message": message, "data": {"status": status, **data}})


def _trimmed(response: Response, fields: str | None) -> Response:
    """The answer with these fields only; errors keep all of theirs."""
    if fields is None or response.status >= 400:
        return response
    found = response.value if isinstance(response.value, list) else [response.value]
    kept = [{name: value for name, value in item.items() if name in fields.split(",")} for item in found]
    return Response(response.status, kept if isinstance(response.value, list) else kept[0])


class WordPressDouble:
    """One site with one user.

    Attributes:
        posts: All posts by id, drafts included.
        publications: How often a draft became a post that visitors see.
    """

    def __init__(self) -> None:
        self.http = HttpDouble(self._answer)
        self.posts: dict[int, dict[str, Any]] = {}
        self.terms: dict[tuple[str, str], int] = {}
        self.files: dict[int, bytes] = {}
        self.publications = 0
        self._last_id = 0

    def _answer(self, request: Request) -> Response:
        secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {secret}":
            return refusal(401, "incorrect_password", "The provided password is an invalid application password.")
        noun, *rest = request.query["rest_route"].removeprefix("/wp/v2/").split("/")
        answers = {"posts": self._answer_posts, "media": self._answer_media, "users": self._answer_users}
        return _trimmed(answers.get(noun, self._answer_terms)(request, rest), request.query.get("_fields"))

    def _answer_posts(self, request: Request, rest: list[str]) -> Response:
        if rest:
            post = self.posts.get(int(rest[0]))
            if post is None:
                return refusal(404, "rest_post_invalid_id", "Invalid post ID.")
            return Response(200, self._change(post, request.json()) if request.method == "POST" else post)
        if request.method == "POST":
            return Response(201, self._make({"status": "draft", "slug": "", **request.json()}))
        wanted = (request.query["slug"], request.query["status"])
        return Response(200, [post for post in self.posts.values() if (post["slug"], post["status"]) == wanted])

    def _answer_media(self, request: Request, rest: list[str]) -> Response:
        if rest:
            return Response(200, {"id": int(rest[0]), **request.json()})
        assert request.headers["content-disposition"].startswith('attachment; filename="')
        number = self._next()
        self.files[number] = request.body
        return Response(201, {"id": number, "source_url": f"http://site.example/{number}"})

    def _answer_users(self, _: Request, rest: list[str]) -> Response:
        assert rest == ["me"]
        return Response(200, {"id": 1, "name": USER})

    def _answer_terms(self, request: Request, _: list[str]) -> Response:
        key = (request.query["rest_route"].rpartition("/")[2], request.json()["name"])
        if (found := self.terms.get(key)) is not None:
            message = "A term with the name provided already exists with this parent."
            return refusal(400, "term_exists", message, term_id=found)
        self.terms[key] = self._next()
        return Response(201, {"id": self.terms[key], "name": key[1]})

    def _next(self) -> int:
        self._last_id += 1
        return self._last_id

    def _make(self, fields: dict[str, Any]) -> dict[str, Any]:
        number = self._next()
        self.posts[number] = {"id": number, "link": f"http://site.example/?p={number}", **fields}
        return self.posts[number]

    def _change(self, post: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
        """An empty slug becomes one of the title."""
        self.publications += fields.get("status") == "publish" and post["status"] == "draft"
        post.update(fields)
        post["slug"] = post["slug"] or post["title"].lower().replace(" ", "-")
        return post
