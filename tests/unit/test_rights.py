"""Roles and rights: which route needs which right, and what each role may do."""

from itertools import pairwise
from pathlib import Path

import pytest
from litestar.routes import HTTPRoute

from everpost.access import RIGHTS_OF_ROLE, Caller, Right, Role
from everpost.api.http.rights import NEEDS, PUBLIC
from everpost.app import create_app
from everpost.settings import temporary_settings

OPEN_ROUTES = {
    "/health/live",
    "/login",
    "/logout",
    "/oidc",
    "/oidc-callback",
    "/preferences",
    "/static/{digest:str}/{name:str}",
    "/schema",
    "/schema/openapi.json",
    "/schema/document.js",
    "/schema/{path:str}",
}


def test_every_route_says_which_right_it_needs_or_that_it_is_public(tmp_path: Path) -> None:
    app = create_app(temporary_settings(tmp_path, redis="redis://127.0.0.1:1/0"))
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        for handler in route.route_handlers:
            if handler.handler_name == "options_handler":
                continue  # Litestar's own, which says which methods there are
            is_public, right = handler.opt.get(PUBLIC), handler.opt.get(NEEDS)
            assert isinstance(right, Right) != bool(is_public), f"{route.path}: {handler.handler_name}"


def test_only_liveness_the_document_and_the_login_are_public(tmp_path: Path) -> None:
    app = create_app(temporary_settings(tmp_path, redis="redis://127.0.0.1:1/0"))
    public = {
        route.path
        for route in app.routes
        if isinstance(route, HTTPRoute) and any(handler.opt.get(PUBLIC) for handler in route.route_handlers)
    }
    assert public == OPEN_ROUTES


def test_each_role_has_the_rights_of_the_one_before_and_one_more() -> None:
    rights = [RIGHTS_OF_ROLE[role] for role in Role]
    assert [len(some) for some in rights] == [1, 2, 3, 4]
    assert all(some < more for some, more in pairwise(rights))


@pytest.mark.parametrize(
    ("platform", "account_id", "is_reached"),
    [
        ("douyin", None, True),
        ("douyin", "any", True),
        ("bilibili", "studio", True),
        ("bilibili", "other", False),
        ("bilibili", None, False),
        ("kuaishou", "studio", False),
    ],
)
def test_a_limited_caller_reaches_its_platforms_and_accounts_only(
    platform: str, account_id: str | None, *, is_reached: bool
) -> None:
    caller = Caller(
        name="a key",
        role=Role.OPERATOR,
        platforms=frozenset({"douyin"}),
        accounts=frozenset({("bilibili", "studio")}),
    )
    assert caller.may_reach(platform, account_id) is is_reached
    assert Caller(name="all", role=Role.VIEWER).may_reach(platform, account_id)
