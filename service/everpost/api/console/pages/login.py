"""The page that asks for a key."""

from everpost.api.console.frame import render
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.services import ApiRequest, services_of


def login_page(request: ApiRequest, next_page: str, *, is_refused: bool = False, status: int = 200) -> JsonAnswer:
    """The page; `next_page` is where to go then, relative to the login."""
    return render(
        request,
        "login.html",
        status=status,
        next_page=next_page,
        is_refused=is_refused,
        has_provider=services_of(request).provider is not None,
    )
