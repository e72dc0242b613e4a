"""The console by keyboard alone."""

from playwright.sync_api import Browser, expect

from browser_kit.scene import Scene
from browser_kit.view import PHONE, viewing


def test_the_keys_are_shown_and_put_away(browser: Browser, scene: Scene) -> None:
    with viewing(browser) as page:
        page.goto(scene.address)
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()


def test_slash_goes_to_the_search_and_escape_leaves_it(browser: Browser, scene: Scene) -> None:
    for look in (None, PHONE):
        with viewing(browser, *([look] if look else [])) as page:
            page.goto(scene.address)
            page.keyboard.press("/")
            expect(page.get_by_role("searchbox")).to_be_focused()
            page.keyboard.press("j")
            expect(page.get_by_role("searchbox")).to_have_value("j")
            page.keyboard.press("Escape")
            expect(page.get_by_role("searchbox")).not_to_be_focused()


def test_j_and_k_walk_the_rows_and_enter_opens_one(browser: Browser, scene: Scene) -> None:
    with viewing(browser) as page:
        page.goto(f"{scene.address}/limits")
        rows = page.locator("[data-row]")
        for key, row in (("j", 0), ("j", 0 if rows.count() == 1 else 1), ("k", 0)):
            page.keyboard.press(key)
            expect(rows.nth(row)).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#sheet")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#sheet")).to_be_hidden()


def test_every_control_can_be_reached_with_the_tab_key(browser: Browser, scene: Scene) -> None:
    with viewing(browser) as page:
        page.goto(f"{scene.address}/limits/scope?scope=douyin")
        wanted = page.evaluate(
            "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea')]"
            ".filter((one) => one.checkVisibility()).length"
        )
        reached = set()
        for _ in range(wanted + 5):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
        assert len(reached - {page.evaluate("[...document.querySelectorAll('*')].indexOf(document.body)")}) >= wanted
