"""What a person changes in the console, with and without script."""

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from browser_kit.scene import Scene
from browser_kit.view import ENGLISH, WITHOUT_SCRIPT, Look, check_page, viewing

with_and_without_script = pytest.mark.parametrize("look", [ENGLISH, WITHOUT_SCRIPT], ids=["script", "no-script"])


@with_and_without_script
def test_a_platform_is_paused_and_resumed(browser: Browser, scene: Scene, look: Look) -> None:
    with viewing(browser, look) as page:
        page.goto(f"{scene.address}/limits/scope?scope=kuaishou")
        page.get_by_label("Reason").fill("Their upload is broken.")
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("status").first).to_contain_text("It is paused")
        assert _hold(scene, "kuaishou")["reason"] == "Their upload is broken."
        page.goto(f"{scene.address}/")
        expect(page.get_by_text("Their upload is broken.")).to_be_visible()
        page.goto(f"{scene.address}/limits/scope?scope=kuaishou")
        page.get_by_role("button", name="Resume").click()
        expect(page.get_by_role("status").first).to_contain_text("may begin again")
        assert _hold(scene, "kuaishou") is None


@with_and_without_script
def test_limits_are_set_and_given_back(browser: Browser, scene: Scene, look: Look) -> None:
    with viewing(browser, look) as page:
        page.goto(f"{scene.address}/limits/scope?scope=bilibili%2Fstudio")
        page.get_by_label("At once").fill("2")
        page.get_by_label("Seconds between two").fill("1.5")
        page.get_by_label("Number of posts").first.fill("30")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status").first).to_contain_text("hold for all workers")
        assert _limits(scene, "bilibili/studio") == {
            "concurrency": 2,
            "gap_s": 1.5,
            "rates": [{"count": 30, "per_s": 3600.0}],
        }
        expect(page.get_by_label("At once")).to_have_value("2")
        page.get_by_role("button", name="Back to the catalogue's limits").click()
        expect(page.get_by_label("At once")).to_have_value("")


def test_a_value_that_does_not_fit_is_refused_where_it_was_typed(browser: Browser, scene: Scene) -> None:
    with viewing(browser, WITHOUT_SCRIPT) as page:
        page.goto(f"{scene.address}/accounts/new")
        page.get_by_label("Account id").fill("studio")
        page.get_by_label("Time zone").fill("Mars/Olympus")
        page.get_by_role("button", name="Register").click()
        expect(page.get_by_role("alert")).to_contain_text("is not an IANA time zone")
        expect(page.get_by_label("Time zone")).to_have_value("Mars/Olympus")


@with_and_without_script
def test_an_account_is_registered_paused_resumed_and_removed(browser: Browser, scene: Scene, look: Look) -> None:
    account = f"night_{'js' if look.script else 'plain'}"
    with viewing(browser, look) as page:
        page.goto(f"{scene.address}/accounts/new")
        page.get_by_label("Platform").select_option("douyin")
        page.get_by_label("Account id").fill(account)
        page.get_by_label("Title").fill("The night team")
        page.get_by_label("Credentials").fill("password = env:EVERPOST_ACCOUNT_NIGHT")
        page.get_by_role("button", name="Register").click()
        expect(page.get_by_role("status").first).to_contain_text("is registered")
        page.get_by_label("Reason").fill("A holiday.")
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_text("A holiday.")).to_be_visible()
        if look.script:
            check_page(page, "account")
        page.get_by_role("button", name="Resume").click()
        page.get_by_label("Repeat the id").fill(account)
        page.get_by_role("button", name="Remove").click()
        expect(page.get_by_role("status").first).to_contain_text("is removed")
    assert scene.client.get(f"/api/v1/accounts/douyin/{account}").status_code == 404


@pytest.mark.quick
def test_a_sheet_shows_the_result_without_leaving_the_page(browser: Browser, scene: Scene) -> None:
    with viewing(browser) as page:
        page.goto(f"{scene.address}/platforms")
        page.locator("tr[data-key=channels] a").click()
        sheet = page.locator("#sheet")
        sheet.get_by_label("Reason").fill("Once.")
        sheet.get_by_role("button", name="Pause").click()
        expect(sheet.get_by_role("button", name="Resume")).to_be_visible()
        check_page(page, "sheet")
        sheet.get_by_role("button", name="Resume").click()
        expect(sheet.get_by_label("Reason")).to_be_visible()
        assert page.url == f"{scene.address}/platforms"


@pytest.mark.quick
def test_the_first_page_teaches_the_first_request_and_makes_it(browser: Browser, empty_scene: Scene) -> None:
    with viewing(browser) as page:
        page.goto(empty_scene.address)
        expect(page.get_by_role("heading", name="Publish the first task")).to_be_visible()
        check_page(page, "empty")
        page.get_by_role("button", name="Make this request now").click()
        expect(page.get_by_role("status").first).to_contain_text("first task was accepted")
        row = page.locator("[data-region=recent] tbody tr")
        expect(row).to_contain_text("My first post", timeout=15_000)
        expect(row).to_contain_text("success")


def test_the_page_follows_what_happens_and_keeps_the_focus(browser: Browser, scene: Scene) -> None:
    with viewing(browser) as page:
        page.goto(scene.address)
        link = page.locator("[data-region=recent] td.main a").first
        title = link.inner_text()
        link.focus()
        scene.post("/api/v1/limits/pause", {"platform": "youtube", "reason": "Seen at once?", "by": "mei"})
        expect(page.get_by_text("Seen at once?")).to_be_visible(timeout=15_000)
        assert _focused(page) == title
        scene.post("/api/v1/limits/resume", {"platform": "youtube"})


def test_an_event_brings_the_page_up_to_date_and_a_lost_stream_comes_back(browser: Browser, scene: Scene) -> None:
    with viewing(browser) as page:
        page.route(scene.address + "/", _without_polling)
        page.goto(scene.address + "/")
        expect(page.locator("body[data-live=yes]")).to_be_attached()
        scene.publish(title="Told by an event", schedule_time="2031-01-01T00:00:00Z")
        scheduled = page.locator(".tile.scheduled strong")
        expect(scheduled).to_have_text(_scheduled(scene), timeout=15_000)
        page.context.set_offline(offline=True)
        scene.publish(title="Told afterwards", schedule_time="2031-01-02T00:00:00Z")
        page.context.set_offline(offline=False)
        expect(scheduled).to_have_text(_scheduled(scene), timeout=15_000)


def _without_polling(route: Route) -> None:
    """The page, fetched anew every hour only."""
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace('data-every="4"', 'data-every="3600"'))


def _scheduled(scene: Scene) -> str:
    counts: dict[str, int] = scene.client.get("/api/v1/tasks/stats").json()["summary"]
    return str(counts["scheduled"])


def test_the_charts_show_the_hour_the_day_or_the_week(browser: Browser, scene: Scene) -> None:
    with viewing(browser) as page:
        page.goto(scene.address)
        ends = page.get_by_role("img", name="Tasks that ended: ")
        hour = _ended(ends.get_attribute("aria-label"))
        page.get_by_role("link", name="Day").click()
        day = _ended(ends.get_attribute("aria-label"))
        assert page.url == f"{scene.address}/?span=day"
        assert 0 < hour < day
        assert page.locator(".bars g").count() == 96


def _ended(label: str | None) -> int:
    return int((label or "").partition("success ")[2].partition(", ")[0].replace(",", ""))


def _focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.innerText"))


def _scope(scene: Scene, name: str) -> dict[str, Any]:
    found = scene.client.get("/api/v1/limits").json()["data"]
    return next((one for one in found if one["scope"] == name), {"limits": {}, "hold": None})


def _hold(scene: Scene, name: str) -> Any:
    return _scope(scene, name)["hold"]


def _limits(scene: Scene, name: str) -> Any:
    return _scope(scene, name)["limits"]
