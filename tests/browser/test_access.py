"""Signing in, and what a role sees and may do."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from browser_kit.scene import Scene, running_scene
from browser_kit.view import CHINESE_PHONE, DARK, ENGLISH, WITHOUT_SCRIPT, Look, check_page, viewing

TOKEN = "a-token-of-tests"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A scene that asks for a key."""
    with running_scene(tmp_path_factory.mktemp("closed"), token=TOKEN) as running:
        yield running


def sign_in(page: Page, scene: Scene, key: str = TOKEN, path: str = "") -> None:
    page.goto(f"{scene.address}/{path}")
    page.get_by_label("API key or token").fill(key)
    page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize("look", [ENGLISH, DARK, CHINESE_PHONE], ids=lambda look: look.name)
def test_the_login_is_sound(browser: Browser, closed: Scene, look: Look) -> None:
    with viewing(browser, look) as page:
        page.goto(closed.address)
        assert page.url.endswith("/login?next=")
        check_page(page, "login", look)


@pytest.mark.quick
@pytest.mark.parametrize("look", [ENGLISH, WITHOUT_SCRIPT], ids=["script", "no-script"])
def test_a_person_signs_in_comes_to_the_wanted_page_and_signs_out(browser: Browser, closed: Scene, look: Look) -> None:
    with viewing(browser, look) as page:
        sign_in(page, closed, "not the token", "limits/scope?scope=douyin")
        expect(page.get_by_role("alert")).to_contain_text("not valid")
        page.get_by_label("API key or token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        assert page.url == f"{closed.address}/limits/scope?scope=douyin"
        (session,) = (one for one in page.context.cookies() if one["name"] == "everpost_session")
        assert (session["httpOnly"], session["sameSite"]) == (True, "Strict")
        page.get_by_label("Reason").fill("Signed in.")
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_text("Signed in.")).to_be_visible()
        page.get_by_role("button", name="Resume").click()
        page.get_by_role("button", name="Sign out").click()
        page.goto(f"{closed.address}/limits")
        expect(page.get_by_label("API key or token")).to_be_visible()


def test_an_admin_makes_replaces_and_revokes_keys(browser: Browser, closed: Scene) -> None:
    with viewing(browser) as page:
        sign_in(page, closed, path="keys")
        page.get_by_label("Name: who uses it").fill("mei")
        page.get_by_label("Role").select_option("operator")
        page.get_by_role("button", name="Make the key").click()
        first = page.locator(".made code").inner_text()
        assert _status_with(closed, first) == 200
        check_page(page, "keys")
        page.goto(f"{closed.address}/keys")
        assert first not in page.content()
        page.get_by_role("button", name="Replace").click()
        second = page.locator(".made code").inner_text()
        assert _status_with(closed, second) == 200
        page.get_by_role("button", name="Revoke").first.click()
        page.locator("#sheet").get_by_role("button", name="Revoke").click()
        expect(page.get_by_role("status").first).to_contain_text("refused from now on")
        assert sorted([_status_with(closed, first), _status_with(closed, second)]) == [200, 401]


def test_a_viewer_sees_all_and_is_offered_no_change(browser: Browser, closed: Scene) -> None:
    made = closed.post("/api/v1/keys", {"name": "watcher", "role": "viewer"})
    with viewing(browser) as page:
        sign_in(page, closed, made["key"], "limits/scope?scope=douyin")
        expect(page.get_by_role("heading", name="Its limits")).to_be_visible()
        assert page.get_by_role("button", name="Pause").count() == 0
        assert page.get_by_role("link", name="Keys", exact=True).count() == 0
        page.goto(f"{closed.address}/keys")
        expect(page.locator("h1")).to_have_text("You may not do this")


def _status_with(scene: Scene, key: str) -> int:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.get(f"{scene.address}/api/v1/tasks/stats", headers=headers).status_code
