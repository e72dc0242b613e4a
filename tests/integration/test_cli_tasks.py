"""`everpost list`, `show`, `retry` and `cancel` against a running stack."""

import asyncio
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli_support import DEADLINE_S, STYLE, Up, environment, free_port, on_terminal, run, run_process, serving, until
from everpost.store import open_store
from everpost.task.model import ErrorClass, TaskStatus
from everpost.task.place import Place
from store_kit import kit_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks at processes through /proc")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with serving(tmp_path_factory.mktemp("up")) as up:
        yield up


def fail(up: Up, count: int, **fields: Any) -> list[str]:
    """Tasks that fail, because their media is missing."""
    task_ids = [up.publish(file_path="nowhere.mp4", **fields) for _ in range(count)]
    assert {up.wait_until_ended(task_id)["status"] for task_id in task_ids} == {"failed"}
    return task_ids


def asked(up: Up, *arguments: str) -> dict[str, Any]:
    """The command's `--json` answer."""
    done = up.everpost(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_tasks_are_listed_by_filter_page_by_page(up: Up) -> None:
    task_ids = fail(up, 3, account_id="lister", title="一个很长的标题")
    shown = up.everpost("list", "--account-id", "lister", "--status", "failed")
    assert shown.returncode == 0, shown.stderr
    assert all(task_id in shown.stdout for task_id in task_ids)
    assert "一个很长的标题" in shown.stdout
    assert "3 of 3 tasks" in shown.stdout
    page = asked(up, "list", "--account-id", "lister", "--limit", "2")
    rest = asked(up, "list", "--account-id", "lister", "--cursor", page["next_cursor"])
    assert [row["task_id"] for row in page["data"] + rest["data"]] == task_ids[::-1]


def test_one_task_is_shown_whole(up: Up) -> None:
    (task_id,) = fail(up, 1, description="这是描述", unknown={"field": [1, None]})
    shown = up.everpost("show", task_id)
    assert shown.returncode == 0, shown.stderr
    for text in (task_id, "failed", "这是描述", '"field"', "attempts"):
        assert text in shown.stdout
    assert asked(up, "show", task_id, "--wait", "1")["data"]["task_id"] == task_id


def test_an_unknown_task_is_reported_in_one_line(up: Up) -> None:
    for name in ("show", "retry", "cancel"):
        done = up.everpost(name, "nobody")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "everpost: There is no task 'nobody'. (task_not_found)\n"


def test_a_failed_task_is_retried_and_the_source_told(up: Up) -> None:
    (task_id,) = fail(up, 1)
    done = up.everpost("retry", task_id)
    assert done.returncode == 0, done.stderr
    message, _, new_id = done.stdout.strip().rpartition(": ")
    assert message == "Task resubmitted to arq from Redis"
    assert up.wait_until_ended(new_id)["retry_of"] == task_id


def test_a_published_task_is_retried_only_by_force(up: Up) -> None:
    task_id = up.publish()
    up.wait_until_ended(task_id)
    refused = up.everpost("retry", task_id)
    assert refused.returncode == 1
    assert "--force publishes it a second time. (task_succeeded)" in refused.stderr
    assert "force=true" not in refused.stderr
    assert up.everpost("retry", task_id, "--force").returncode == 0


def test_tasks_that_match_a_filter_are_retried_after_a_dry_run(up: Up) -> None:
    task_ids = fail(up, 5, account_id="filtered")
    chosen = ["retry", "--status", "failed", "--account-id", "filtered"]
    assert up.everpost(*chosen, "--dry-run").stdout.startswith("5 of 5 tasks would be retried.\n")
    listed = asked(up, "list", "--account-id", "filtered")
    assert listed["total"] == len(task_ids)
    done = up.everpost(*chosen)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 of 5 tasks retried.\n")
    assert all(f"{task_id} -> " in done.stdout for task_id in task_ids)
    retried = asked(up, "list", "--account-id", "filtered")["data"]
    assert sorted(row["retry_of"] for row in retried if row["retry_of"]) == sorted(task_ids)


def test_a_large_set_is_retried_behind_a_progress_bar(up: Up) -> None:
    count = 700
    body = [{"platform": 1, "account_id": "many", "file_path": "nowhere.mp4"}] * count
    httpx.post(f"{up.url}/api/v1/publish/batch", json=body, timeout=30).raise_for_status()

    def failed(*options: str) -> int:
        total: int = asked(up, "list", "--account-id", "many", "--status", "failed", *options)["total"]
        return total

    until(lambda: failed() == count, "all of them to fail")
    done = up.everpost("retry", "--account-id", "many", "--status", "failed")
    assert done.returncode == 0, done.stderr
    said, _, batch_id = done.stdout.rpartition(" ")
    assert said == f"{count} of {count} tasks retried.\nThe new ones: everpost list --batch-id"
    until(lambda: failed("--batch-id", batch_id.strip()) == count, "their retries to fail too")


def test_a_scheduled_task_is_cancelled(up: Up) -> None:
    task_id = up.publish(schedule_time="2035-01-01T00:00:00Z")
    done = up.everpost("cancel", task_id)
    assert done.returncode == 0, done.stderr
    assert up.wait_until_ended(task_id)["status"] == "cancelled"
    again = up.everpost("cancel", task_id)
    assert (again.returncode, "task_ended" in again.stderr) == (1, True)


def test_an_id_that_looks_like_a_path_reaches_no_other_route(up: Up) -> None:
    task_id = up.publish(schedule_time="2035-01-01T00:00:00Z")
    odd_ids = (("retry", f"../cancel/{task_id}"), ("cancel", ".."), ("show", f"../tasks/{task_id}"), ("show", "."))
    for name, odd in odd_ids:
        done = up.everpost(name, odd)
        assert (done.returncode, "published" in done.stdout + done.stderr) == (1, False), done
    assert asked(up, "show", task_id)["data"]["status"] == "scheduled"


def test_on_a_terminal_of_80_columns_ids_statuses_and_titles_are_whole_and_times_relative(up: Up) -> None:
    (task_id,) = fail(up, 1, account_id="narrow", title="一个标题")
    shown = STYLE.sub("", on_terminal(up.env, "list", "--account-id", "narrow"))
    head, line, count = shown.strip().splitlines()
    assert head.split() == ["task", "status", "accepted", "title", "error"]
    assert re.match(rf"{task_id}  failed  (now|\d+ (s|min) ago) +一个标题 ", line), line
    assert count == "1 of 1 tasks"
    piped = up.everpost("list", "--account-id", "narrow").stdout
    assert re.search(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z +\w+ +narrow +一个标题 +'nowhere", piped), piped


def test_a_list_is_watched_until_ctrl_c(up: Up) -> None:
    (task_id,) = fail(up, 1, account_id="watched")
    arguments = ("list", "--account-id", "watched", "--watch", "0.2")
    shown = on_terminal(up.env, *arguments, interrupt_at="\x1b[2m1 of 1 tasks")
    assert task_id in shown
    assert shown.endswith("\x1b[?1049l")  # the screen that was there is shown again
    assert "Traceback" not in shown
    piped = up.everpost(*arguments)
    assert (piped.returncode, "--watch needs a terminal" in piped.stderr) == (2, True)


@pytest.mark.chaos
def test_a_list_whose_api_has_gone_is_watched_on(up: Up) -> None:
    env = {**up.env, "EVERPOST_DATA": str(up.folder / "nothing"), "EVERPOST_PORT": str(free_port())}
    assert "No API answers at" in on_terminal(env, "list", "--watch", "0.2", interrupt_at="No API answers")


def test_every_command_takes_the_beginning_of_an_id(up: Up) -> None:
    for task_id, status in (("twin-one", "failed"), ("twin-two", "failed"), ("lone-wolf", "unknown")):
        data = '{"platform": 1, "account_id": "a", "file_path": "nowhere.mp4"}'
        row = {"task_id": task_id, "status": status, "platform": "xiaohongshu", "data": data, "title": "a title"}
        kit_of(up.database).add(Place.HISTORY, {**row, "created_at": "2026-01-01T00:00:00.000Z"})
    assert asked(up, "show", "twin-o")["data"]["task_id"] == "twin-one"
    for arguments in (("show",), ("retry",), ("cancel",), ("resolve", "--succeeded", "--why", "x")):
        done = up.everpost(*arguments, "twin-")
        assert (done.returncode, done.stdout) == (1, ""), done
        assert "More than one task has an id that begins with 'twin-'" in done.stderr
        assert re.findall(r"^  (\S+)  failed .* a title$", done.stderr, flags=re.MULTILINE) == ["twin-two", "twin-one"]
    retried = asked(up, "retry", "twin-o")
    assert retried["original_task_id"] == "twin-one"
    assert asked(up, "list", "--retry-of", "twin-o")["data"][0]["task_id"] == retried["new_task_id"]
    assert "The task has ended" in up.everpost("cancel", "twin-t").stderr
    assert asked(up, "cancel", "twin-t", "lone", "--dry-run")["total"] == 2
    assert "everpost resolve lone-wolf --succeeded --why TEXT" in up.everpost("show", "lone").stdout
    assert up.everpost("resolve", "lone", "--succeeded", "--why", "there it is").returncode == 0
    assert asked(up, "show", "lone-wolf")["data"]["status"] == "success"


def test_one_command_decides_about_many_unknown_tasks(up: Up) -> None:
    for number in range(3):
        row = {"task_id": f"stranded-{number}", "status": "unknown", "account_id": "stranded", "data": "{}"}
        kit_of(up.database).add(
            Place.HISTORY, {**row, "platform": "xiaohongshu", "created_at": "2026-01-01T00:00:00.000Z"}
        )
    arguments = ("resolve", "--account-id", "stranded", "--succeeded", "--why", "all are in the timeline")
    assert asked(up, *arguments, "--dry-run")["succeeded"] == 3
    refused = up.everpost(*arguments, "--publish-url", "https://example.org/17")
    assert (refused.returncode, "pass one TASK_ID" in refused.stderr) == (2, True), refused
    assert {row["status"] for row in asked(up, "list", "--account-id", "stranded")["data"]} == {"unknown"}
    assert asked(up, *arguments)["succeeded"] == 3
    assert {row["status"] for row in asked(up, "list", "--account-id", "stranded")["data"]} == {"success"}


def test_an_invalid_choice_is_refused_with_the_valid_ones(up: Up) -> None:
    for option, values in (("--status", TaskStatus), ("--error-class", ErrorClass)):
        done = up.everpost("list", option, "odd")
        assert done.returncode == 2
        assert all(f"'{value}'" in done.stderr for value in values)


def test_a_filter_the_api_refuses_is_named_by_its_option(up: Up) -> None:
    for name in ("list", "retry", "cancel"):
        done = up.everpost(name, "--created-after", "yesterday")
        assert done.stderr == "everpost: --created-after: 'yesterday' is not a date or time. (invalid_value)\n"


def test_many_are_cancelled_by_filter(up: Up) -> None:
    for _ in range(3):
        up.publish(account_id="later", schedule_time="2035-01-01T00:00:00Z")
    done = up.everpost("cancel", "--account-id", "later", "--status", "scheduled")
    assert done.returncode == 0, done.stderr
    assert asked(up, "list", "--account-id", "later", "--status", "cancelled")["total"] == 3


def test_a_filter_that_cannot_be_read_is_said_in_one_line(up: Up) -> None:
    done = up.everpost("list", "--created-after", "yesterday")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "yesterday" in done.stderr


def test_skipped_tasks_of_a_retry_are_listed_with_their_reasons(up: Up) -> None:
    task_id = up.publish()
    up.wait_until_ended(task_id)
    (failed,) = fail(up, 1)
    done = up.everpost("retry", task_id, failed, "nobody")
    assert done.returncode == 1
    assert done.stdout.startswith("1 of 3 tasks retried.\n")
    assert "(task_succeeded)" in done.stderr
    assert "nobody: " in done.stderr


def test_nothing_is_retried_where_nothing_was_named(up: Up) -> None:
    done = up.everpost("retry")
    assert (done.returncode, "at least one filter" in done.stderr) == (2, True)


def test_an_api_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    done = run("list", env=environment(PORT=str(free_port()), DATA=str(tmp_path)))
    assert done.returncode == 1
    assert done.stderr.startswith("everpost: No API answers at http://127.0.0.1:")
    assert done.stderr.count("\n") == 1


@pytest.mark.chaos
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed (Debian: apt install bash)")
def test_bash_completes_commands_statuses_platforms_and_ids(up: Up) -> None:
    task_id = up.publish()
    up.wait_until_ended(task_id)

    def completed(*words: str) -> set[str]:
        line = " ".join(f"'{word}'" for word in words)
        script = 'eval "$(everpost completion bash)"; '
        script += f"COMP_WORDS=(everpost {line}); COMP_CWORD={len(words)}; _everpost_completion everpost; "
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", script + 'printf "%s\\n" "${COMPREPLY[@]}"'],
            env={**up.env, "PATH": path},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert not done.stderr, done
        return set(done.stdout.split())

    assert completed("re") == {"retry", "resolve", "resume", "restore"}
    assert completed("list", "--status", "s") == {"scheduled", "success"}
    assert completed("retry", "--platform", "d") == {"douyin"}
    assert completed("show", task_id[:25]) == {task_id}
    assert task_id in completed("cancel", "")
    assert up.everpost("completion").returncode in {0, 2}
    assert up.everpost("completion", "csh").returncode == 2


def test_a_shell_that_asks_while_no_api_runs_gets_nothing(tmp_path: Path) -> None:
    asked = {"_EVERPOST_COMPLETE": "bash_complete", "COMP_WORDS": "everpost show 01", "COMP_CWORD": "2"}
    done = run_process(env={**environment(PORT=str(free_port()), DATA=str(tmp_path)), **asked})
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.chaos
def test_doctor_logs_nothing_and_has_one_section_a_subject(up: Up) -> None:
    until(lambda: up.everpost("doctor").returncode == 0, "a worker that takes tasks: it has just started")
    done = up.everpost("doctor")
    assert done.stderr == ""
    findings = asked(up, "doctor")["findings"]
    sections = [about for about, _ in itertools.groupby(finding["about"] for finding in findings)]
    assert len(sections) == len(set(sections)), sections
    shown = STYLE.sub("", on_terminal(up.env, "doctor"))
    assert "…" not in shown


def make_store(path: Path) -> None:
    async def make() -> None:
        await (await open_store(str(path))).close()

    asyncio.run(make())


def test_doctor_calls_nothing_well_while_no_api_answers(up: Up, tmp_path: Path) -> None:
    env = environment(PORT=str(free_port()), DATA=str(tmp_path))
    fresh = run("doctor", env=env)
    assert (fresh.returncode, "Nothing is wrong, but no API answers." in fresh.stdout) == (0, True)
    make_store(tmp_path / "everpost.db")
    used = run("doctor", env=env)
    assert (used.returncode, "All is well" in used.stdout) == (1, False)
    assert "none answers at http://127.0.0.1:" in used.stdout
    assert "Start one with `everpost up`" in used.stdout
    elsewhere = run("doctor", "--url", up.url, env=env)
    assert (elsewhere.returncode, "All is well." in elsewhere.stdout) == (0, True), elsewhere.stdout


@pytest.mark.chaos
def test_a_token_that_is_missing_is_asked_for_by_its_setting(tmp_path: Path) -> None:
    with serving(tmp_path, TOKEN="a token of tests") as up:
        for name in ("list", "doctor"):
            done = run(name, env={**up.env, "EVERPOST_TOKEN": ""})
            assert done.returncode == 1
            assert "set EVERPOST_TOKEN to it" in done.stdout + done.stderr
            assert "Bearer" not in done.stdout + done.stderr
        wrong = run("list", env={**up.env, "EVERPOST_TOKEN": "another token"})
        assert "does not accept the token in EVERPOST_TOKEN or EVERPOST_KEY. (unauthorized)" in wrong.stderr


def test_doctor_finds_a_running_stack_well(up: Up) -> None:
    until(lambda: up.everpost("doctor").returncode == 0, "all to be well")
    findings = {finding["name"]: finding for finding in asked(up, "doctor")["findings"]}
    assert findings["alive"]["value"].startswith("1, ")
    assert findings["append-only file"]["value"] == "on"
    assert findings["quick_check"]["value"] == "ok"
    assert findings["in two tables"]["value"] == "none"
    assert up.url in findings["ready"]["value"]


def test_an_unknown_task_is_listed_with_its_evidence_and_resolved(up: Up) -> None:
    task_id = up.publish(account_id="whodunit")
    up.wait_until_ended(task_id)
    kit = kit_of(up.database)
    (attempts,) = kit.columns(Place.HISTORY, task_id, "attempts")
    evidence = {"phase": "sending", "bytes_sent": "yes", "last_words": "part 3 of 4"}
    (attempt,) = json.loads(attempts)
    kit.change(Place.HISTORY, task_id, status="unknown", attempts=json.dumps([{**attempt, "evidence": evidence}]))
    for shown in (up.everpost("list", "--status", "unknown", "--account-id", "whodunit"), up.everpost("show", task_id)):
        assert all(words in shown.stdout for words in (task_id, "sending", "yes", "part 3 of 4")), shown
    assert up.everpost("resolve", task_id, "--why", "why not").returncode == 2
    assert up.everpost("resolve", task_id, "--send-again").returncode == 2
    both = up.everpost("resolve", task_id, "--send-again", "--succeeded", "--why", "why not")
    assert (both.returncode, "Pass either --succeeded or --send-again." in both.stderr) == (2, True)
    done = up.everpost("resolve", task_id, "--send-again", "--by", "mei", "--why", "it is not there")
    message, _, new_id = done.stdout.strip().rpartition(": ")
    assert message == "Task is sent again", done
    assert up.wait_until_ended(new_id)["retry_of"] == task_id
    shown = up.everpost("show", task_id)
    assert all(words in shown.stdout for words in ("decisions", "mei", "it is not there", new_id))
    refused = up.everpost("resolve", task_id, "--succeeded", "--why", "there it is")
    assert refused.returncode == 1
    assert "It was decided by mei" in refused.stderr


def test_a_waiting_task_is_edited_and_the_edit_shown(up: Up) -> None:
    task_id = up.publish(schedule_time="2035-01-01T00:00:00Z", title="old", tags=["a"])
    done = up.everpost(
        "edit", task_id, "--set", "title=New", "--set", "kept=[1]", "--unset", "tags",
        "--schedule-time", "2036-01-01T00:00:00Z", "--priority", "2", "--by", "mei", "--why", "later",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith(f"{task_id}, due 2036-01-01T00:00:00.000Z")
    task = asked(up, "show", task_id)["data"]
    assert (task["title"], task["priority"], task["task_data"]["kept"]) == ("New", 2, [1])
    (edit,) = task["edits"]
    assert (edit["edited_by"], edit["why"], edit["before"]["tags"]) == ("mei", "later", ["a"])
    shown = up.everpost("show", task_id).stdout
    assert all(text in shown for text in ("mei", "later", "old"))


def test_many_tasks_are_edited_and_published_now(up: Up) -> None:
    task_ids = [up.publish(schedule_time="2035-01-01T00:00:00Z", account_id="many edits") for _ in range(3)]
    chosen = ("edit", "--account-id", "many edits", "--now")
    assert up.everpost(*chosen, "--dry-run").stdout.startswith("3 of 3 tasks would be edited.\n")
    done = up.everpost(*chosen)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 of 3 tasks edited.\n")
    assert {up.wait_until_ended(task_id)["status"] for task_id in task_ids} == {"success"}
    refused = up.everpost("edit", task_ids[0], "--now")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "(task_ended)" in refused.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("some-id",),
        ("some-id", "--now", "--schedule-time", "2036-01-01T00:00:00Z"),
        ("some-id", "--set", "title"),
        ("some-id", "--patch", "[1]"),
        ("some-id", "--patch", "{"),
        ("--now",),
    ],
)
def test_an_edit_that_says_too_little_or_too_much_is_a_wrong_use(up: Up, options: tuple[str, ...]) -> None:
    done = up.everpost("edit", *options)
    assert (done.returncode, done.stdout) == (2, "")


def test_recurring_posts_are_added_listed_paused_resumed_changed_and_removed(up: Up, tmp_path: Path) -> None:
    (tmp_path / "task.json").write_text(json.dumps({"platform": 1, "account_id": "a", "title": "Digest"}), "utf-8")
    added = ("schedule", "add", "digest", "--cron", "0 9 1 1 *", "--timezone", "Asia/Tokyo")
    data = ("--data", f"@{tmp_path / 'task.json'}", "--set", 'tags=["a"]')
    dry = up.everpost(*added, *data, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert (dry.stdout.startswith("Checked: digest"), asked(up, "schedule", "list")["data"]) == (True, [])
    done = up.everpost(*added, *data)
    assert done.returncode == 0, done.stderr
    assert re.search(r"next: \d{4}-01-01T09:00:00\.000\+09:00\n", done.stdout)
    assert "digest" in up.everpost("schedule", "list").stdout
    assert len(up.everpost("schedule", "next", "digest", "--count", "3").stdout.splitlines()) == 3
    for command, status in (("pause", "paused"), ("resume", "active")):
        assert asked(up, "schedule", command, "digest")["data"]["status"] == status
    changed = asked(up, "schedule", "edit", "digest", "--cron", "0 10 * * *", "--unset", "tags", "--rename", "daily")
    assert (changed["data"]["cron"], changed["data"]["data"].get("tags")) == ("0 10 * * *", None)
    assert "Digest" in up.everpost("schedule", "show", "daily").stdout
    again = up.everpost("schedule", "add", "daily", "--cron", "0 9 * * *", *data)
    assert (again.returncode, again.stdout) == (1, "")
    wrong = up.everpost("schedule", "add", "wrong", "--cron", "61 * * * *", *data)
    assert wrong.returncode == 1
    assert wrong.stderr == "everpost: --cron: '61 * * * *' is not a cron expression: Bad minute. (invalid_value)\n"
    assert up.everpost("schedule", "remove", "daily").returncode == 0
    gone = up.everpost("schedule", "show", "daily")
    assert (gone.returncode, gone.stdout) == (1, "")


def test_a_retry_is_edited_field_by_field(up: Up) -> None:
    (task_id,) = fail(up, 1, title="wrong", cover="c.png")
    wrong = up.everpost("retry", task_id, "--set", "title")
    assert (wrong.returncode, "is not NAME=VALUE" in wrong.stderr) == (2, True)
    edits = ("--set", "title=right one", "--set", "cover=null", "--set", "file_path=null", "--set", 'tags=["a"]')
    answer = asked(up, "retry", task_id, *edits)
    new = up.wait_until_ended(answer["new_task_id"])
    assert (new["status"], new["title"], new["task_data"]["tags"]) == ("success", "right one", ["a"])
    assert "cover" not in new["task_data"]


def test_a_cancellation_and_a_removal_are_undone(up: Up) -> None:
    task_ids = [up.publish(account_id="undone", schedule_time="2031-01-01") for _ in range(2)]
    cancelled = asked(up, "cancel", "--account-id", "undone", "--status", "scheduled")["operation_id"]
    done = up.everpost("undo", cancelled)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "2 of 2 tasks retried.")
    again = asked(up, "undo", cancelled)
    waiting = asked(up, "list", "--account-id", "undone", "--status", "scheduled")["data"]
    assert {row["retry_of"] for row in waiting} == set(task_ids)
    assert {row["batch_id"] for row in waiting} == {again["operation_id"]}
    removed = httpx.post(f"{up.url}/api/v1/tasks/batch/delete", json={"task_ids": task_ids}).json()
    assert up.everpost("undo", removed["operation_id"]).stdout == "2 tasks brought back.\n"
    assert up.everpost("undo", "nowhere").returncode == 1


def test_a_fan_out_is_posted_shown_retried_and_cancelled(up: Up, tmp_path: Path) -> None:
    accounts = [{"platform": 1, "account_id": "fan"}, {"platform": 1, "account_id": "fan", "file_path": "nowhere.mp4"}]
    file = tmp_path / "fanout.json"
    file.write_text(json.dumps({"content": {"title": "同"}, "accounts": [*accounts, {"platform": "nowhere"}]}))
    posted = up.everpost("fanout", "post", str(file), "--key", "once", "--json")
    assert posted.returncode == 1  # an account was rejected
    answer = json.loads(posted.stdout)
    fanout_id = answer["fanout_id"]
    for result in answer["results"][:2]:
        up.wait_until_ended(result["task_id"])
    shown = up.everpost("fanout", "show", fanout_id)
    assert shown.stdout.splitlines()[0] == "partial: 1 success, 1 failed, 1 rejected"
    assert "1 of 1" in up.everpost("fanout", "retry", fanout_id).stdout
    assert asked(up, "fanout", "cancel", fanout_id)["kind"] == "cancel"
    assert up.everpost("fanout", "show", "nowhere").returncode == 1
    assert "No callback was made about it." in up.everpost("callbacks", "list", fanout_id).stdout
    assert up.everpost("callbacks", "redeliver", "nowhere.callback").returncode == 1
