"""Pages of tasks: the list and its filters, what is done to many and to one, the inbox, and the calendar."""

import pytest
from playwright.sync_api import Browser, expect

from browser_kit.scene import Scene
from browser_kit.view import ENGLISH, LOOKS, WITHOUT_SCRIPT, Look, check_page, viewing

with_and_without_script = pytest.mark.parametrize("look", [ENGLISH, WITHOUT_SCRIPT], ids=["script", "no-script"])


def failed(scene: Scene, *titles: str) -> list[str]:
    ids = [scene.publish(platform="bilibili", account_id="travel", title=title) for title in titles]
    for task_id in ids:
        assert scene.wait_for(task_id)["status"] == "failed"
    return ids


@pytest.fixture
def scene_at_work(scene: Scene) -> Scene:
    """The scene with a publisher that goes on."""
    scene.call(scene.stack.publisher.release)
    for platform in ("douyin", "bilibili"):
        waiting = scene.client.get("/api/v1/tasks", params={"status": "pending", "platform": platform}).json()["data"]
        for task in waiting:
            scene.wait_for(task["task_id"])
    return scene


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
@pytest.mark.parametrize(
    "path", ["tasks", "tasks?status=failed&q=Episode", "unknown", "schedule", "batches", "operations", "audit"]
)
def test_a_page_is_sound(browser: Browser, scene: Scene, path: str, look: Look) -> None:
    with viewing(browser, look) as page:
        page.goto(f"{scene.address}/{path}")
        assert page.locator("h1").count() == 1
        check_page(page, path.partition("?")[0], look)


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_the_pages_of_a_task_are_sound(browser: Browser, scene_at_work: Scene, look: Look) -> None:
    scene = scene_at_work
    (first,) = failed(scene, "Episode with a lineage")
    retried = str(scene.post(f"/api/v1/tasks/retry/{first}")["new_task_id"])
    scene.wait_for(retried)
    with viewing(browser, look) as page:
        for name in ("", "/edit"):
            page.goto(f"{scene.address}/tasks/{retried}{name}")
            check_page(page, f"task{name.replace('/', '-')}", look)


def test_a_filter_is_an_address_with_chips_that_take_it_away(browser: Browser, scene_at_work: Scene) -> None:
    with viewing(browser) as page:
        page.goto(f"{scene_at_work.address}/tasks")
        page.get_by_label("Words in title, error or data").fill("Episode")
        page.get_by_label("Platform").select_option("bilibili")
        page.get_by_role("button", name="Show").first.click()
        page.wait_for_url("**/tasks?*q=Episode*")
        assert "platform=bilibili" in page.url
        for row in page.locator("[data-row]").all():
            expect(row).to_contain_text("Episode")
        page.get_by_role("link", name="failed").click()
        assert "status=failed" in page.url
        assert "q=Episode" in page.url
        page.get_by_title("Remove the filter Words").click()
        assert "q=" not in page.url
        assert "status=failed" in page.url


def test_a_filter_that_does_not_fit_is_said_above_the_list(browser: Browser, scene: Scene) -> None:
    with viewing(browser) as page:
        page.goto(f"{scene.address}/tasks?created_after=yesterday-ish")
        expect(page.get_by_role("alert")).to_contain_text("is not a date or time")
        expect(page.get_by_label("Accepted from")).to_have_value("yesterday-ish")


def test_the_list_is_exported_with_its_filter(browser: Browser, scene: Scene) -> None:
    with viewing(browser) as page:
        page.goto(f"{scene.address}/tasks?q=Episode&platform=bilibili")
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        lines = download.value.path().read_text("utf-8-sig").splitlines()
        assert len(lines) > 1
        assert all("Episode" in line for line in lines[1:])


def test_columns_are_chosen_and_stay_in_the_address(browser: Browser, scene: Scene) -> None:
    with viewing(browser) as page:
        page.goto(f"{scene.address}/tasks?status=success")
        page.locator("summary", has_text="Columns").click()
        page.get_by_role("checkbox", name="Attempts").check()
        page.get_by_role("checkbox", name="Outcome").uncheck()
        page.locator(".popup").get_by_role("button", name="Show").click()
        expect(page.get_by_role("columnheader", name="Attempts")).to_be_visible()
        expect(page.get_by_role("columnheader", name="Outcome")).to_be_hidden()
        assert "status=success" in page.url
        page.get_by_role("link", name="failed").click()
        expect(page.get_by_role("columnheader", name="Attempts")).to_be_visible()


def test_pages_follow_each_other_without_repeating_a_task(browser: Browser, scene: Scene) -> None:
    with viewing(browser) as page:
        page.goto(f"{scene.address}/tasks")
        first = {row.get_attribute("data-key") for row in page.locator("[data-row]").all()}
        page.get_by_role("link", name="Next page").click()
        second = {row.get_attribute("data-key") for row in page.locator("[data-row]").all()}
        assert len(first) == 50
        assert second
        assert not first & second
        page.get_by_role("link", name="First page").click()
        assert page.locator("[data-row]").first.get_attribute("data-key") in first


@with_and_without_script
def test_selected_tasks_are_retried_after_a_preview(browser: Browser, scene_at_work: Scene, look: Look) -> None:
    scene = scene_at_work
    ids = failed(scene, "Episode selected 1", "Episode selected 2")
    with viewing(browser, look) as page:
        page.goto(f"{scene.address}/tasks?status=failed&q=selected")
        for task_id in ids:
            page.locator(f"[data-key='{task_id}'] input").check()
        page.locator("[data-action=retry-selected]").click()
        expect(page.get_by_text("would be retried")).to_be_visible()
        page.get_by_role("button", name="Retry 2 tasks").click()
        page.wait_for_url("**/operations/*")
        expect(page.get_by_text("were retried")).to_be_visible()
        expect(page.get_by_text("of 2 tasks")).to_be_visible()
        page.get_by_role("link", name="The new tasks").click()
        expect(page.locator("[data-row]")).to_have_count(2)


def test_all_that_match_are_removed_and_the_reasons_of_others_are_told(browser: Browser, scene_at_work: Scene) -> None:
    scene = scene_at_work
    failed(scene, "Episode obsolete 1", "Episode obsolete 2")
    waiting = scene.publish(title="obsolete too", schedule_time="2031-01-01T00:00:00Z")
    with viewing(browser) as page:
        page.goto(f"{scene.address}/tasks?q=obsolete")
        page.get_by_label("All 3 that match").check()
        page.get_by_role("button", name="Remove").click()
        expect(page.locator("#sheet")).to_contain_text("would move to the archive")
        expect(page.locator("#sheet")).to_contain_text("task_unfinished")
        page.get_by_role("button", name="Remove 2 tasks").click()
        page.wait_for_url("**/operations/*")
        check_page(page, "operation")
        page.get_by_role("button", name="Bring them back").click()
        expect(page.get_by_role("status").first).to_contain_text("back in the history")
        page.goto(f"{scene.address}/tasks?q=obsolete")
        expect(page.locator("[data-row]")).to_have_count(3)
    assert scene.client.get(f"/api/v1/tasks/{waiting}").json()["data"]["status"] == "scheduled"


@with_and_without_script
def test_a_cancellation_of_many_tasks_is_undone_by_one_button(browser: Browser, scene: Scene, look: Look) -> None:
    word = f"hasty{'' if look.script else 'plain'}"
    ids = {scene.publish(title=f"{word} {n}", schedule_time="2031-01-01T00:00:00Z") for n in range(2)}
    with viewing(browser, look) as page:
        page.goto(f"{scene.address}/tasks?q={word}&status=scheduled")
        page.get_by_label("All 2 that match").check()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Cancel 2 tasks").click()
        page.wait_for_url("**/operations/*")
        cancellation = page.url
        if look.script:
            check_page(page, "cancellation")
        page.get_by_role("button", name="Undo: retry 2 tasks").click()
        expect(page.get_by_role("status").first).to_contain_text("cancellation is undone")
        expect(page.get_by_text("were retried")).to_be_visible()
        if look.script:
            check_page(page, "undo")
        page.get_by_role("link", name="The new tasks").click()
        expect(page.locator("[data-row]")).to_have_count(2)
        page.goto(cancellation)
        expect(page.get_by_role("button", name="Undo")).to_be_hidden()
        expect(page.get_by_role("link", name="How far it has come")).to_be_visible()
    made = scene.client.get("/api/v1/tasks", params={"q": word, "status": "scheduled"}).json()["data"]
    assert {task["retry_of"] for task in made} == ids


def test_without_a_filter_or_a_selection_nothing_is_done(browser: Browser, scene: Scene) -> None:
    with viewing(browser) as page:
        page.goto(f"{scene.address}/tasks")
        expect(page.get_by_role("radio", name="that match")).to_be_disabled()
        page.get_by_role("button", name="Remove").click()
        expect(page.locator("#sheet").get_by_role("alert")).to_contain_text("Select tasks first")


def test_new_rows_gather_behind_a_button_and_move_nothing(browser: Browser, scene_at_work: Scene) -> None:
    scene = scene_at_work
    failed(scene, "Episode gathered 0")
    with viewing(browser) as page:
        page.goto(f"{scene.address}/tasks?q=gathered")
        failed(scene, "Episode gathered 1", "Episode gathered 2")
        button = page.get_by_role("button", name="2 new tasks")
        expect(button).to_be_visible(timeout=15_000)
        expect(page.locator("[data-row]")).to_have_count(1)
        button.click()
        expect(page.locator("[data-row]")).to_have_count(3)
        expect(button).to_be_hidden()


def test_rows_are_selected_and_retried_by_keyboard(browser: Browser, scene_at_work: Scene) -> None:
    scene = scene_at_work
    failed(scene, "Episode by keys 1", "Episode by keys 2")
    with viewing(browser) as page:
        page.goto(f"{scene.address}/tasks?status=failed&q=keys")
        page.keyboard.press("j")
        page.keyboard.press("x")
        page.keyboard.press("j")
        page.keyboard.press("x")
        expect(page.locator("[data-selected-count]")).to_have_text("2")
        page.keyboard.press("r")
        expect(page.locator("#sheet")).to_contain_text("would be retried")
        page.keyboard.press("Escape")
        expect(page.locator("#sheet")).to_be_hidden()


@with_and_without_script
def test_a_task_is_retried_and_edited(browser: Browser, scene_at_work: Scene, look: Look) -> None:
    scene = scene_at_work
    (task_id,) = failed(scene, "Episode to edit")
    with viewing(browser, look) as page:
        page.goto(f"{scene.address}/tasks/{task_id}")
        expect(page.get_by_text("The cookies of the account expired").first).to_be_visible()
        page.get_by_role("link", name="Edit and retry").click()
        page.get_by_label("title").fill("Mended by hand")
        page.get_by_role("button", name="Retry").click()
        expect(page.get_by_role("status").first).to_contain_text("It will run again")
        new_id = page.url.partition("?")[0].rpartition("/")[2]
        assert new_id != task_id
        assert scene.wait_for(new_id)["status"] == "success"
        assert scene.client.get(f"/api/v1/tasks/{new_id}").json()["data"]["task_data"]["title"] == "Mended by hand"


def test_a_value_that_does_not_fit_is_refused_beside_its_field(browser: Browser, scene: Scene) -> None:
    task_id = scene.publish(title="to be edited", schedule_time="2031-01-01T00:00:00Z", api_token="tell nobody")
    with viewing(browser) as page:
        page.goto(f"{scene.address}/tasks/{task_id}/edit")
        expect(page.get_by_label("All other members")).not_to_have_value("tell nobody")
        page.get_by_label("schedule_time").fill("tomorrow")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_be_visible()
        expect(page.get_by_label("schedule_time")).to_have_value("tomorrow")
        expect(page.get_by_label("schedule_time")).to_have_attribute("aria-invalid", "true")
        page.get_by_label("schedule_time").fill("2031-02-01T00:00:00Z")
        page.get_by_role("button", name="Check only").click()
        expect(page.get_by_text("It is valid")).to_be_visible()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status").first).to_contain_text("new version")
    data = scene.client.get(f"/api/v1/tasks/{task_id}").json()["data"]
    assert data["due_at"] == "2031-02-01T00:00:00.000Z"
    assert len(data["edits"]) == 1


@with_and_without_script
def test_a_waiting_task_is_cancelled_and_an_ended_one_removed(browser: Browser, scene: Scene, look: Look) -> None:
    task_id = scene.publish(title="not any more", schedule_time="2031-01-01T00:00:00Z")
    with viewing(browser, look) as page:
        page.goto(f"{scene.address}/tasks/{task_id}")
        page.get_by_role("button", name="Cancel", exact=True).click()
        expect(page.get_by_role("status").first).to_contain_text("It is cancelled")
        page.get_by_role("button", name="Remove").click()
        expect(page.get_by_role("status").first).to_contain_text("in the archive")
        page.get_by_role("button", name="Bring back").click()
        expect(page.get_by_role("status").first).to_contain_text("back in the history")
        page.get_by_role("button", name="Remove").click()
        expect(page.get_by_role("status").first).to_contain_text("in the archive")
    assert scene.client.get(f"/api/v1/tasks/{task_id}").json()["data"]["place"] == "publish_tasks_archive"


@with_and_without_script
def test_the_inbox_leads_from_one_decision_to_the_next(browser: Browser, scene_at_work: Scene, look: Look) -> None:
    scene = scene_at_work
    scene.call(lambda: scene.stack.publisher.lose_next_answer(2))
    ids = [scene.publish(title=f"Lost {look.script} {number}") for number in range(2)]
    with viewing(browser, look) as page:
        page.goto(f"{scene.address}/unknown")
        for task_id in ids:
            assert scene.wait_for(task_id)["status"] == "unknown"
        if look.script:
            number = scene.client.get("/api/v1/tasks", params={"status": "unknown"}).json()["total"]
            expect(page.get_by_role("link", name=f"Unknown : {number} tasks wait for a decision")).to_be_visible()
        page.goto(f"{scene.address}/unknown?task={ids[1]}")
        expect(page.get_by_text("The publisher had been called.")).to_be_visible()
        page.get_by_role("button", name="Look it up now").click()
        if look.script:  # without it, one loads the page again
            expect(page.get_by_text("It cannot be looked up.")).to_be_visible(timeout=15_000)
        page.get_by_label("Your name").fill("mei")
        page.get_by_label("What you found").fill("It is there.")
        page.get_by_label("Its address").fill("https://example.test/17")
        page.get_by_role("button", name="It was published").click()
        expect(page.get_by_role("status").first).to_contain_text("Your decision is kept")
        page.goto(f"{scene.address}/unknown?task={ids[0]}")
        page.get_by_label("Your name").fill("mei")
        page.get_by_label("What you found").fill("It is not there.")
        page.get_by_role("button", name="Send it again").click()
        expect(page.get_by_role("status").first).to_contain_text("Your decision is kept")
        page.goto(f"{scene.address}/tasks/{ids[0]}")
        expect(page.get_by_text("A person decided")).to_be_visible()
        expect(page.get_by_text("“It is not there.”")).to_be_visible()
    done = scene.client.get(f"/api/v1/tasks/{ids[1]}").json()["data"]
    assert (done["status"], done["publish_url"], done["decisions"][0]["decided_by"]) == (
        "success", "https://example.test/17", "mei",
    )  # fmt: skip


@with_and_without_script
def test_one_decision_is_made_about_many_tasks(browser: Browser, scene_at_work: Scene, look: Look) -> None:
    scene, word = scene_at_work, f"adrift{'' if look.script else 'plain'}"
    scene.call(lambda: scene.stack.publisher.lose_next_answer(2))
    ids = [scene.publish(title=f"{word} {number}") for number in range(2)]
    for task_id in ids:
        assert scene.wait_for(task_id)["status"] == "unknown"
    with viewing(browser, look) as page:
        page.goto(f"{scene.address}/tasks?q={word}&status=unknown")
        page.get_by_label("All 2 that match").check()
        page.get_by_role("button", name="Decide").click()
        expect(page.locator(".preview .big")).to_contain_text("wait for a decision")
        if look.script:
            check_page(page, "decide-many")
        page.get_by_label("Your name").fill("mei")
        page.get_by_label("What you found").fill("Both are there.")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="They were published").click()
        page.wait_for_url("**/operations/*")
        expect(page.get_by_text("were decided")).to_be_visible()
    for task_id in ids:
        done = scene.client.get(f"/api/v1/tasks/{task_id}").json()["data"]
        assert (done["status"], done["decisions"][0]["decided_by"], done["decisions"][0]["why"]) == (
            "success", "mei", "Both are there.",
        )  # fmt: skip


def test_the_calendar_leads_to_a_day(browser: Browser, scene: Scene) -> None:
    scene.publish(title="On a day in 2032", schedule_time="2032-05-04T09:00:00Z")
    with viewing(browser) as page:
        page.goto(f"{scene.address}/schedule?from=2032-05-01")
        page.locator(".calendar a:has(.many.scheduled)").click()
        expect(page.get_by_role("heading", name="Due on 2032-05-04")).to_be_visible()
        page.get_by_role("link", name="On a day in 2032").click()
        expect(page.get_by_role("heading", name="On a day in 2032")).to_be_visible()


def test_a_fan_out_is_followed_and_its_failures_retried(browser: Browser, scene_at_work: Scene) -> None:
    scene = scene_at_work
    accounts = [{"platform": "douyin", "account_id": "studio"}, {"platform": "bilibili", "account_id": "travel"}]
    made = scene.post("/api/v1/publish/fanout", {"content": {"title": "Episode for all"}, "accounts": accounts})
    for one in made["results"]:
        scene.wait_for(one["task_id"])
    with viewing(browser) as page:
        page.goto(f"{scene.address}/batches")
        page.get_by_role("link", name="Episode for all").first.click()
        expect(page.get_by_role("heading", name="Fan-out")).to_be_visible()
        check_page(page, "fanout")
        page.get_by_role("button", name="Retry what failed").click()
        page.wait_for_url("**/operations/*")
        expect(page.get_by_text("were retried")).to_be_visible()
