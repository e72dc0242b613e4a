"""Every page, in both languages, both themes, wide and on a phone."""

import pytest
from playwright.sync_api import Browser

from browser_kit.scene import Scene
from browser_kit.view import CHINESE_PHONE, ENGLISH, LOOKS, WITHOUT_SCRIPT, Look, check_page, viewing

PAGES = (
    "",
    "accounts",
    "accounts/new",
    "platforms",
    "limits",
    "limits/scope?scope=xiaohongshu",
    "keys",
    "help",
    "nowhere",
)
LANGUAGES = {"en": "en", "zh": "zh-CN"}


def name_of(path: str) -> str:
    return path.partition("?")[0].replace("/", "-") or "now"


QUICK = {ENGLISH, CHINESE_PHONE}
SEEN = [pytest.param(look, id=look.name, marks=[pytest.mark.quick] if look in QUICK else []) for look in LOOKS]


@pytest.mark.parametrize("look", SEEN)
@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_is_sound(browser: Browser, scene: Scene, path: str, look: Look) -> None:
    with viewing(browser, look) as page:
        page.goto(f"{scene.address}/{path}")
        assert page.locator("html").get_attribute("lang") == LANGUAGES[look.language[:2]]
        assert page.locator("h1").count() == 1
        check_page(page, name_of(path), look)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_can_be_read_without_script(browser: Browser, scene: Scene, path: str) -> None:
    with viewing(browser, WITHOUT_SCRIPT) as page:
        page.goto(f"{scene.address}/{path}")
        assert page.locator("nav").get_by_role("link", name="Limits").is_visible()
        assert page.locator("h1").inner_text()


def test_language_and_theme_are_kept_for_the_next_page(browser: Browser, scene: Scene) -> None:
    with viewing(browser, ENGLISH) as page:
        page.goto(f"{scene.address}/limits/scope?scope=douyin")
        page.get_by_role("button", name="中文").click()
        assert page.locator("html").get_attribute("lang") == "zh-CN"
        assert page.url.endswith("/limits/scope?scope=douyin")
        page.get_by_role("button", name="深色主题").click()
        page.goto(f"{scene.address}/")
        assert page.locator("html").get_attribute("data-theme") == "dark"
        assert page.get_by_role("heading", name="最近结束").is_visible()
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(18, 20, 23)"
