"""Signing in to the console by a real identity provider, as people do it in a browser."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from browser_kit.scene import Scene, running_scene
from browser_kit.view import CHINESE_PHONE, Look, check_page, viewing
from oidc_server import free_port, running_provider

TOKEN, SECRET = "a-token-of-tests", "the secret of the client"
ROLES = "groups:admins=admin, groups:ops=operator"


@contextmanager
def scene_with_provider(folder: Path, *, is_up: bool = True) -> Iterator[Scene]:
    port, provider_port = free_port(), free_port()
    public = f"http://127.0.0.1:{port}"
    oidc = {"oidc_issuer": f"http://127.0.0.1:{provider_port}", "oidc_client_id": "everpost", "oidc_roles": ROLES}
    settings = {"port": port, "public_url": public, "oidc_client_secret": SECRET, "token": TOKEN, **oidc}
    with running_scene(folder, **settings) as scene:
        if not is_up:
            yield scene
            return
        with running_provider(provider_port, f"{public}/oidc-callback", SECRET):
            yield scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene_with_provider(tmp_path_factory.mktemp("provider")) as running:
        yield running


@contextmanager
def visiting(browser: Browser) -> Iterator[Page]:
    """A page that loads nothing from other machines; the provider's pages have a font of another server."""
    with viewing(browser) as page:
        page.set_default_timeout(15_000)
        page.route(lambda url: urlsplit(url).hostname != "127.0.0.1", lambda route: route.fulfill(body=""))
        yield page


def go_to_provider(page: Page, scene: Scene, path: str = "login") -> None:
    page.goto(f"{scene.address}/{path}")
    page.get_by_role("link", name="your organisation").click()


def sign_in(page: Page, person: str) -> None:
    """Fill in the provider's own pages."""
    page.fill("[name=login]", person)
    page.fill("[name=password]", "any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def test_a_person_signs_in_works_with_the_role_of_its_group_and_signs_out(browser: Browser, scene: Scene) -> None:
    with visiting(browser) as page:
        go_to_provider(page, scene, "limits/scope?scope=douyin")
        sign_in(page, "mei+ops")
        page.wait_for_url(f"{scene.address}/limits/scope?scope=douyin")
        check_page(page, "signed-in-by-provider")
        expect(page.get_by_text("mei@example.org")).to_be_visible()
        assert page.get_by_role("link", name="Keys", exact=True).count() == 0
        page.get_by_label("Reason").fill("Signed in.")
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_text("Signed in.")).to_be_visible()
        (entry,) = scene.client.get("/api/v1/audit", params={"action": "pause_scope"}).json()["data"]
        assert (entry["who"], entry["role"], entry["how"]) == ("mei@example.org", "operator", "console")
        page.get_by_role("button", name="Resume").click()
        page.get_by_role("button", name="Sign out").click()
        page.goto(f"{scene.address}/limits")
        expect(page.get_by_label("API key or token")).to_be_visible()


def test_a_person_without_a_role_is_told_so(browser: Browser, scene: Scene) -> None:
    with visiting(browser) as page:
        go_to_provider(page, scene)
        sign_in(page, "guest")
        expect(page.locator("main")).to_contain_text("gives this person no role")
        check_page(page, "sign-in-refused")
        page.goto(f"{scene.address}/limits")
        expect(page.get_by_label("API key or token")).to_be_visible()


def test_a_person_who_cancels_at_the_provider_comes_back_and_may_try_again(browser: Browser, scene: Scene) -> None:
    with visiting(browser) as page:
        go_to_provider(page, scene)
        page.get_by_role("link", name="Cancel").click()
        expect(page.locator("main")).to_contain_text("the provider has refused")
        page.get_by_role("link", name="Sign in").click()
        expect(page.get_by_role("link", name="your organisation")).to_be_visible()


def test_the_address_of_a_sign_in_is_of_no_use_again(browser: Browser, scene: Scene) -> None:
    with visiting(browser) as page, viewing(browser) as other:
        came: list[str] = []
        page.on("request", lambda request: came.append(request.url) if "/oidc-callback?" in request.url else None)
        go_to_provider(page, scene)
        sign_in(page, "mei+ops")
        page.wait_for_url(f"{scene.address}/")
        for replaying in (page, other):
            replaying.goto(came[0])
            expect(replaying.locator("main")).to_contain_text("was not begun in this browser")
        other.goto(f"{scene.address}/limits")
        expect(other.get_by_label("API key or token")).to_be_visible()


@pytest.mark.parametrize("place", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_a_sign_in_leads_to_no_other_server(browser: Browser, scene: Scene, place: str) -> None:
    with visiting(browser) as page:
        page.goto(f"{scene.address}/oidc?next={place}")
        sign_in(page, "li+admins")
        page.wait_for_url(re.compile(r"/$"))
        assert urlsplit(page.url).netloc == urlsplit(scene.address).netloc


def test_a_session_that_has_expired_leads_to_the_login_and_back(
    browser: Browser, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    with visiting(browser) as page:
        monkeypatch.setattr("everpost.actions.sessions.SESSION_MS", 1)
        go_to_provider(page, scene, "limits")
        sign_in(page, "mei+ops")
        page.wait_for_url(f"{scene.address}/login?next=limits")
        monkeypatch.undo()
        page.get_by_role("link", name="your organisation").click()
        page.wait_for_url(f"{scene.address}/limits")


@pytest.mark.parametrize("look", [Look(), CHINESE_PHONE], ids=lambda look: look.name)
def test_a_provider_that_is_away_is_said_to_be_and_the_token_signs_in(
    browser: Browser, tmp_path: Path, look: Look
) -> None:
    with scene_with_provider(tmp_path, is_up=False) as scene, viewing(browser, look, tolerated="status of 503") as page:
        page.goto(f"{scene.address}/oidc?next=limits")
        expect(page.locator("main")).to_contain_text("The identity provider cannot be used now: it does not answer.")
        check_page(page, "provider-away", look)
        page.goto(f"{scene.address}/login")
        page.locator("[name=key]").fill(TOKEN)
        page.locator("[name=key]").press("Enter")
        page.wait_for_url(f"{scene.address}/")
