"""Signing in to the console with a key: the cookie, and the proof that every change needs."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from api_support import PUBLISH, TASK, Api, assert_problem, serving
from everpost.access import Role
from everpost.api.http.cookies import COOKIE
from everpost.testing import eventually
from integration.test_keys import KEYS, TOKEN, client, make

SAME = {"sec-fetch-site": "same-origin"}
HTML = {"accept": "text/html,application/xhtml+xml"}


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path, None, token=TOKEN) as served:
        yield served


@pytest_asyncio.fixture
async def browser(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=api.address, timeout=30) as browser:
        yield browser


async def sign_in(browser: httpx.AsyncClient, key: str, **fields: str) -> httpx.Response:
    return await browser.post("/login", data={"key": key, **fields}, headers=SAME)


def cookie_in(answer: httpx.Response) -> dict[str, str | bool]:
    """The attributes of the session's cookie, with its value as `value`."""
    (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    assert cookie.key == COOKIE
    return {"value": cookie.value, **{name: value for name, value in cookie.items() if value}}


async def test_a_key_begins_a_session_with_its_role(api: Api, browser: httpx.AsyncClient) -> None:
    key = await make(api, "mei", Role.VIEWER, platforms=["douyin"])
    begun = await sign_in(browser, key, next="tasks?status=failed")
    assert (begun.status_code, begun.headers["location"]) == (303, "tasks?status=failed")
    cookie = cookie_in(begun)
    assert len(str(cookie.pop("value"))) == 43
    assert cookie == {"max-age": "43200", "httponly": True, "samesite": "Strict"}
    who = (await browser.get("/api/v1/whoami")).json()
    assert (who["name"], who["role"], who["platforms"]) == ("mei", "viewer", ["douyin"])
    assert_problem(await browser.post(PUBLISH, json=TASK, headers=SAME), 403, "forbidden")


@pytest.mark.parametrize("headers", [{"origin": "https://posts.example"}, {"x-forwarded-proto": "https"}], ids=str)
async def test_behind_tls_the_cookie_is_sent_over_tls_only(
    api: Api, browser: httpx.AsyncClient, headers: Mapping[str, str]
) -> None:
    begun = await browser.post("/login", json={"key": TOKEN}, headers={**SAME, **headers})
    assert begun.json() == {"success": True, "name": "token", "role": "admin"}
    assert cookie_in(begun)["secure"] is True


@pytest.mark.parametrize(
    ("said", "is_secure"), [("https, http", True), ("https,http", True), ("http, https", False), ("http", False)]
)
async def test_of_several_proxies_the_first_one_says_whether_the_browser_uses_tls(
    browser: httpx.AsyncClient, said: str, is_secure: bool
) -> None:
    begun = await browser.post("/login", json={"key": TOKEN}, headers={**SAME, "x-forwarded-proto": said})
    assert cookie_in(begun).get("secure", False) is is_secure


@pytest.mark.parametrize("kind", ["form", "json"])
async def test_a_wrong_key_begins_no_session(browser: httpx.AsyncClient, kind: str) -> None:
    if kind == "json":
        assert_problem(await browser.post("/login", json={"key": "evp_wrong"}, headers=SAME), 401, "unauthorized")
    else:
        answer = await sign_in(browser, "evp_wrong", next='"><script>')
        assert answer.status_code == 401
        assert "not valid" in answer.text
        assert "<script>" not in answer.text
    assert not browser.cookies


PROOFS: list[tuple[Mapping[str, str], bool]] = [
    ({"sec-fetch-site": "same-origin"}, True),
    ({"sec-fetch-site": "same-site"}, False),
    ({"sec-fetch-site": "cross-site"}, False),
    ({"sec-fetch-site": "none"}, False),
    ({"origin": "http://HOST"}, True),
    ({"origin": "http://elsewhere.example"}, False),
    ({"origin": "http://127.0.0.1:1"}, False),
    ({"origin": "http://HOST@elsewhere.example"}, False),
    ({"origin": "http://HOST.elsewhere.example"}, False),
    ({"origin": "file://HOST"}, False),
    ({"origin": ""}, False),
    ({"sec-fetch-site": ""}, False),
    ({"sec-fetch-site": "same-origin, cross-site"}, False),
    ({"origin": "null"}, False),
    ({"sec-fetch-site": "cross-site", "origin": "http://HOST"}, False),
    ({}, False),
]


@pytest.mark.parametrize(("headers", "is_proof"), PROOFS, ids=str)
async def test_a_change_by_cookie_needs_proof_of_its_origin(
    api: Api, browser: httpx.AsyncClient, headers: Mapping[str, str], *, is_proof: bool
) -> None:
    given = {name: value.replace("HOST", f"127.0.0.1:{api.port}") for name, value in headers.items()}
    login = await browser.post("/login", data={"key": TOKEN}, headers=given)
    assert (login.status_code == 303) is is_proof
    await sign_in(browser, TOKEN)
    for path in (PUBLISH, f"{PUBLISH}?dry_run=false"):
        answer = await browser.post(path, json=TASK, headers=given)
        if is_proof:
            assert answer.status_code == 202
        else:
            assert_problem(answer, 403, "foreign_origin")
    assert await api.count_tasks() == (2 if is_proof else 0)
    assert (await browser.get("/api/v1/whoami", headers=given)).status_code == 200
    logout = await browser.post("/logout", headers=given)
    assert (logout.status_code == 303) is is_proof


async def test_a_header_counts_more_than_a_cookie(api: Api, browser: httpx.AsyncClient) -> None:
    await sign_in(browser, TOKEN)
    wrong = {"authorization": "Bearer evp_wrong"}
    assert_problem(await browser.get("/api/v1/whoami", headers=wrong), 401, "unauthorized")
    key = {"authorization": f"Bearer {await make(api, 'mei', Role.VIEWER)}"}
    assert (await browser.get("/api/v1/whoami", headers=key)).json()["name"] == "mei"


async def test_signing_out_ends_the_session_everywhere(api: Api, browser: httpx.AsyncClient) -> None:
    await sign_in(browser, TOKEN)
    stolen = {"cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
    out = await browser.post("/logout", headers=SAME)
    assert (out.status_code, out.headers["location"], cookie_in(out)["max-age"]) == (303, "login", "0")
    async with httpx.AsyncClient(base_url=api.address, headers=stolen) as thief:
        assert_problem(await thief.get("/api/v1/whoami"), 401, "unauthorized")


async def test_a_session_ends_with_its_key(api: Api, browser: httpx.AsyncClient) -> None:
    await sign_in(browser, await make(api, "mei", Role.OPERATOR))
    assert (await browser.get("/api/v1/whoami")).status_code == 200
    await api.client.delete(f"{KEYS}/mei")
    assert_problem(await browser.get("/api/v1/whoami"), 401, "unauthorized")


async def name_at(api: Api, cookie: Mapping[str, str]) -> str | None:
    """The caller that a cookie stands for; None if it is refused."""
    async with httpx.AsyncClient(base_url=api.address, headers=cookie) as browser:
        answer = await browser.get("/api/v1/whoami")
        return None if answer.status_code == 401 else str(answer.json()["name"])


async def test_a_session_goes_on_in_another_process_until_the_token_is_another(tmp_path: Path) -> None:
    async with serving(tmp_path, None, token=TOKEN) as first, httpx.AsyncClient(base_url=first.address) as browser:
        await sign_in(browser, TOKEN)
        cookie = {"cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
        async with serving(tmp_path, None, token=TOKEN) as second:
            assert await name_at(second, cookie) == "token"
    async with serving(tmp_path, None, token="another token") as later:
        assert await name_at(later, cookie) is None


async def test_signing_out_in_one_process_ends_the_session_in_all_within_a_second(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, None, token=TOKEN) as first,
        serving(tmp_path, None, token=TOKEN) as second,
        httpx.AsyncClient(base_url=first.address) as browser,
    ):
        await sign_in(browser, TOKEN)
        cookie = {"cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
        async with httpx.AsyncClient(base_url=second.address, headers=cookie) as elsewhere:
            assert (await elsewhere.get("/api/v1/whoami")).status_code == 200
            await browser.post("/logout", headers=SAME)

            async def is_out() -> bool:
                return (await elsewhere.get("/api/v1/whoami")).status_code == 401

            await eventually(is_out)


@pytest.mark.parametrize(
    "others",
    [
        'state={"a": 1}; {own}',
        "words=two words; {own}",
        "sizes[]; {own}",
        "{own}; {own_name}=of-a-console-above-this-one",  # browsers send the cookie of the longer path first
    ],
)
async def test_cookies_of_other_applications_of_the_host_do_not_end_a_session(
    api: Api, browser: httpx.AsyncClient, others: str
) -> None:
    await sign_in(browser, TOKEN)
    sent = others.replace("{own}", f"{COOKIE}={browser.cookies[COOKIE]}").replace("{own_name}", COOKIE)
    assert await name_at(api, {"cookie": sent}) == "token"


@pytest.mark.parametrize(
    ("wanted", "led_to"),
    [
        ("tasks/1?a=b&c=d", "tasks/1?a=b&c=d"),
        ("", "./"),
        ("//evil.example", "./"),
        ("/\\evil.example", "./"),
        ("https://evil.example", "./"),
        ("javascript:alert(1)", "./"),
        ("\\\\evil.example", "./"),
        ("a\nb", "./"),
        ("\t//evil.example", "./"),
        ("'//evil.example", "./"),  # the page after a provider's login would unquote it
        ('"//evil.example', "./"),
    ],
)
async def test_the_login_leads_to_pages_of_this_server_only(
    browser: httpx.AsyncClient, wanted: str, led_to: str
) -> None:
    assert (await sign_in(browser, TOKEN, next=wanted)).headers["location"] == led_to


@asynccontextmanager
async def told_of_a_provider() -> AsyncIterator[str]:
    """The issuer of a provider that only says of itself where things are."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        places = {name: f"{issuer}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
        told = {"keys": [{"kty": "oct", "k": "a2V5" * 8}]} if b"/jwks_uri " in head else {"issuer": issuer, **places}
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + json.dumps(told).encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        issuer = "http://{}:{}".format(*server.sockets[0].getsockname())
        yield issuer


@pytest.mark.parametrize(("public_url", "is_secure"), [("https://posts.example", True), ("http://127.0.0.1", False)])
async def test_if_people_come_back_over_tls_cookies_are_secure_whatever_a_proxy_says(
    tmp_path: Path, public_url: str, is_secure: bool
) -> None:
    async with (
        told_of_a_provider() as issuer,
        serving(
            tmp_path, None, token=TOKEN, public_url=public_url, oidc_issuer=issuer, oidc_client_id="everpost",
            oidc_roles="*=viewer",
        ) as api,
        httpx.AsyncClient(base_url=api.address, timeout=30) as browser,
    ):  # fmt: skip
        begun = await browser.get("/oidc")
        assert begun.status_code == 303, begun.text
        assert begun.headers["set-cookie"].endswith("; Secure") is is_secure


async def test_a_browser_without_a_session_is_led_to_the_login(api: Api, browser: httpx.AsyncClient) -> None:
    page = await browser.get("/login", params={"next": "tasks"}, headers=HTML)
    assert 'type="password"' in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert_problem(await browser.get("/api/v1/whoami", headers=HTML), 401, "unauthorized")
    async with client(api, TOKEN) as with_token:
        assert (await with_token.get("/login")).status_code == 200


async def test_a_login_that_is_no_form_is_refused(browser: httpx.AsyncClient) -> None:
    plain = await browser.post("/login", content=b"key", headers={**SAME, "content-type": "text/plain"})
    assert_problem(plain, 415, "unsupported_media_type")
    long = await browser.post("/login", data={"key": "x" * 10_000}, headers=SAME)
    assert_problem(long, 413, "body_too_large")
    assert_problem(await browser.post("/login", json={"key": 1}, headers=SAME), 422, "invalid_value", "$.key")
