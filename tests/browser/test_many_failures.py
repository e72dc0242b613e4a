"""A night of failures on the first page: groups, and one button for all of a group."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from browser_kit.many import add_failures
from browser_kit.scene import Scene, running_scene
from browser_kit.view import check_page, viewing


@pytest.fixture(
    params=[pytest.param(2_000, id="few", marks=pytest.mark.quick), pytest.param(200_000, id="very-many")],
    scope="module",
)
def night(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, int]]:
    """A scene in which so many tasks have failed."""
    with running_scene(
        tmp_path_factory.mktemp("night"), workers=0
    ) as scene:  # a worker would run what is not ended yet
        scene.run(add_failures(scene.stack.store, request.param), within_s=900)
        scene.run(scene.stack.start_worker())
        yield scene, request.param


def test_one_button_retries_all_of_a_group(browser: Browser, night: tuple[Scene, int]) -> None:
    scene, number = night
    with viewing(browser) as page:
        page.goto(scene.address)
        expect(page.locator("[data-region=failures] h2")).to_contain_text(f"{number:,} in the last 24 hours")
        check_page(page, f"night-{number}")
        group = page.locator("[data-region=failures] [data-row]").first
        count = int(group.locator(".num").inner_text().replace(",", ""))
        page.keyboard.press("j")
        page.keyboard.press("r")
        sheet = page.locator("#sheet")
        expect(sheet.locator(".big b")).to_have_text(f"{min(count, 10_000):,}", timeout=60_000)
        sheet.get_by_role("button", name="Retry").click()
        page.wait_for_url("**/operations/*")
        expect(page.locator("main")).to_contain_text(f"{count:,}", timeout=60_000)
        operation = page.url.rpartition("/")[2]
        progress = scene.client.get(f"/api/v1/operations/{operation}").json()
        assert progress["total"] == count
