"""Signing in to the console by a real identity provider (the npm package oidc-provider)."""

import base64
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import msgspec
import pytest

from api_support import Api, assert_problem, serving
from oidc_server import free_port, running_provider

pytestmark = pytest.mark.peer

TOKEN = "the token of the admin"
SECRET = "the secret of the client"
ROLES = "groups:admins=admin, groups:ops=operator, *=viewer"
FORM = re.compile(r'<form[^>]*action="([^"]+)"')


@asynccontextmanager
async def signing_in(
    folder: Path, secret: str = SECRET, **settings: Any
) -> AsyncIterator[tuple[Api, httpx.AsyncClient]]:
    """An API at an address that the provider knows, and a browser."""
    port, provider_port = free_port(), free_port()
    public = f"http://127.0.0.1:{port}"
    oidc = {"oidc_issuer": f"http://127.0.0.1:{provider_port}", "oidc_client_id": "everpost", "oidc_roles": ROLES}
    oidc |= {"oidc_client_secret": secret} if secret else {}
    with running_provider(provider_port, f"{public}/oidc-callback", secret):
        async with (
            serving(folder, None, token=TOKEN, port=port, public_url=public, **{**oidc, **settings}) as api,
            httpx.AsyncClient(base_url=public, timeout=30) as browser,
        ):
            yield api, browser


async def come_back(browser: httpx.AsyncClient, person: str, start: str = "/oidc") -> str:
    """Sign in at the provider; the address to which it sends the browser back."""
    answer = await browser.get(start)
    assert answer.status_code == 303, answer.text
    answer = await browser.get(answer.headers["location"], follow_redirects=True)
    for fields in ({"prompt": "login", "login": person, "password": "any"}, {"prompt": "consent"}):
        form = FORM.search(answer.text)
        assert form is not None, answer.text
        answer = await browser.post(urljoin(str(answer.url), form[1]), data=fields)
        while "location" in answer.headers:
            place = urljoin(str(answer.url), answer.headers["location"])
            if "/oidc-callback?" in place:
                return place
            answer = await browser.get(place)
    raise AssertionError(answer.text)


async def whoami(browser: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await browser.get("/api/v1/whoami")).json()
    return found


@pytest.mark.parametrize(
    ("person", "role"), [("mei+ops", "operator"), ("li+x+ops+admins", "admin"), ("guest", "viewer")]
)
async def test_a_person_gets_the_role_of_its_groups(tmp_path: Path, person: str, role: str) -> None:
    async with signing_in(tmp_path) as (api, browser):
        assert "oidc?next=tasks" in (await browser.get("/login?next=tasks")).text
        page = await browser.get(await come_back(browser, person, "/oidc?next=tasks%3Fstatus%3Dfailed"))
        assert page.status_code == 200
        assert 'content="0; url=tasks?status=failed"' in page.text
        who = await whoami(browser)
        assert (who["name"], who["role"]) == (f"{person.partition('+')[0]}@example.org", role)
        entries = (await api.client.get("/api/v1/audit")).json()["data"]
        assert (entries[0]["action"], entries[0]["who"], entries[0]["how"]) == ("end_oidc", who["name"], "console")
        assert "everpost_oidc" not in browser.cookies


async def test_a_client_without_a_secret_signs_in_by_pkce(tmp_path: Path) -> None:
    async with signing_in(tmp_path, secret="") as (_, browser):
        await browser.get(await come_back(browser, "mei+ops"))
        assert (await whoami(browser))["role"] == "operator"


async def test_a_code_is_taken_once_and_only_from_the_browser_that_began(tmp_path: Path) -> None:
    async with signing_in(tmp_path) as (api, browser):
        place = await come_back(browser, "mei+ops")
        kept = browser.cookies["everpost_oidc"]
        async with httpx.AsyncClient(base_url=api.address) as other:
            assert_problem(await other.get(place), 403, "sign_in_refused")
        forged = re.sub(r"state=[^&]+", "state=" + "x" * 43, place)
        assert_problem(await browser.get(forged), 403, "sign_in_refused")
        assert (await browser.get(place)).status_code == 200
        again: Mapping[str, str] = {"cookie": f"everpost_oidc={kept}"}
        async with httpx.AsyncClient(base_url=api.address, headers=again) as thief:
            assert_problem(await thief.get(place), 403, "sign_in_refused")


@pytest.mark.parametrize(
    ("person", "settings"),
    [
        ("mei", {"oidc_roles": "groups:ops=operator"}),
        ("unverified+ops", {}),
        ("token", {"oidc_name": "name"}),
        ("mei", {"oidc_name": "nickname"}),
    ],
    ids=str,
)
async def test_a_person_without_a_role_or_a_usable_name_is_refused(
    tmp_path: Path, person: str, settings: Mapping[str, Any]
) -> None:
    async with signing_in(tmp_path, **settings) as (_, browser):
        assert_problem(await browser.get(await come_back(browser, person)), 403, "sign_in_refused")
        assert_problem(await browser.get("/api/v1/whoami"), 401, "unauthorized")


async def test_a_person_cannot_have_the_name_of_a_key(tmp_path: Path) -> None:
    async with signing_in(tmp_path, oidc_name="name") as (api, browser):
        await api.client.post("/api/v1/keys", json={"name": "shop", "role": "publisher"})
        assert_problem(await browser.get(await come_back(browser, "shop+admins")), 403, "sign_in_refused")


async def test_an_answer_of_another_issuer_is_refused(tmp_path: Path) -> None:
    async with signing_in(tmp_path) as (_, browser):
        place = await come_back(browser, "mei+ops")
        wrong_issuer = re.sub(r"iss=[^&]+", "iss=http%3A%2F%2Felsewhere.example", place)
        assert_problem(await browser.get(wrong_issuer), 403, "sign_in_refused")


@pytest.mark.parametrize("field", [1, 2], ids=["nonce", "verifier"])
async def test_a_wrong_nonce_or_verifier_is_refused(tmp_path: Path, field: int) -> None:
    async with signing_in(tmp_path) as (api, browser):
        place = await come_back(browser, "mei+ops")
        attempt = attempt_of(browser.cookies["everpost_oidc"])
        attempt[field] = "wrong" * 9
        cookie = {"cookie": f"everpost_oidc={encoded(attempt)}"}
        async with httpx.AsyncClient(base_url=api.address, headers=cookie) as other:
            assert_problem(await other.get(place), 403, "sign_in_refused")
            assert_problem(await other.get("/api/v1/whoami"), 401, "unauthorized")


async def test_a_provider_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    settings = {"oidc_issuer": "http://127.0.0.1:1", "oidc_client_id": "everpost", "oidc_roles": ROLES}
    async with serving(tmp_path, None, token=TOKEN, public_url="http://127.0.0.1", **settings) as api:
        assert_problem(await api.client.get("/oidc"), 503, "sign_in_unavailable")
        assert (await api.client.get("/api/v1/whoami")).status_code == 200


def attempt_of(cookie: str) -> list[str]:
    return msgspec.json.decode(base64.urlsafe_b64decode(cookie), type=list[str])


def encoded(attempt: list[str]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(attempt)).decode()
