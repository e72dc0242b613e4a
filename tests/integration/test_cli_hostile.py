"""Foreign text in a task, a publisher's answer or a job id cannot control a terminal, in any command's output."""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cli_support import STYLE, Up, on_terminal, run_process, serving
from everpost.cli import COMMANDS
from everpost.printable import is_printable
from everpost.task.place import Place
from http_receiver import Received, Reply, receiving
from store_kit import kit_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks at processes through /proc")

EVIL = "\x1b]52;c;cHduZWQ=\x07\x1b[2J\x1b[38;5;213mred\x9b31m\u202egnp.exe\u2066\u2028x\u200by\r\nFORGED success"
EVIL_ID = "job\x1b]0;owned\x07\u202e\n1"

SHOW_NO_TASKS = {
    "api": "its log is part of that of `up`",
    "worker": "its log is part of that of `up`",
    "demo": "runs tasks of its own only",
    "bench": "runs tasks of its own only",
    "mcp": "speaks to programs",
}


def accept(_: Received) -> Reply:
    """Accept a post, with an id and an address that must not be printed."""
    return Reply(json.dumps({"id": EVIL, "url": f"https://example.test/{EVIL}"}).encode())


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("hostile")
    with receiving(accept) as port:
        options = f'options = {{ url = "http://127.0.0.1:{port}/", allow_http = true, allow_private = true }}'
        (folder / "platforms.toml").write_text(f'[platforms.evil]\nid = 66\npublisher = "webhook"\n{options}\n')
        with serving(folder, PLATFORMS=str(folder / "platforms.toml")) as up:
            yield up


@pytest.fixture(scope="module")
def task_ids(up: Up) -> dict[str, str]:
    """A task of each status that can be had, each hostile in every field, and one whose id is."""
    fields = {"account_id": EVIL[:250], "title": EVIL, EVIL: [EVIL, {EVIL: EVIL}]}
    ids = {
        "failed": up.publish(**fields, file_path=f"{EVIL}.mp4"),
        "success": up.publish(**{**fields, "platform": "evil"}),
        "unknown": up.publish(**fields),
        "scheduled": up.publish(**fields, schedule_time="2035-01-01T00:00:00Z"),
    }
    post = {"name": "evil", "cron": "0 0 1 1 *", "data": {"platform": 1, **fields}}
    httpx.post(f"{up.url}/api/v1/recurring", json=post).raise_for_status()
    for name in ("failed", "success", "unknown"):
        up.wait_until_ended(ids[name])
    evidence = {"phase": "sending", "bytes_sent": "yes", "last_words": EVIL}
    attempt = {"number": 1, **dict.fromkeys(("outcome", "started_at", "error", "worker"), EVIL), "evidence": evidence}
    texts = ("platform", "account_id", "title", "error_message", "provider_post_id", "publish_url", "batch_id")
    kit = kit_of(up.database)
    kit.change(Place.HISTORY, ids["unknown"], status="unknown", error_message=EVIL, attempts=json.dumps([attempt]))
    kit.add(
        Place.HISTORY,
        {"task_id": EVIL_ID, "status": "failed", **dict.fromkeys(texts, EVIL)},
    )
    times = dict.fromkeys(("status", "created_at", "updated_at"), EVIL)
    kit.add(Place.HISTORY, {"task_id": f"{EVIL_ID}2", "data": f"{{ no json {EVIL}", **times})
    return {**ids, "evil id": EVIL_ID}


def test_a_hostile_id_and_address_of_a_published_post_are_refused_and_the_post_stays_published(
    up: Up, task_ids: dict[str, str]
) -> None:
    task = up.wait_until_ended(task_ids["success"])
    assert task["status"] == "success"
    assert (task["provider_post_id"], task["publish_url"], len(task["attempts"])) == (None, None, 1)
    assert task["result"]["unprintable"]["provider_post_id"].startswith(r"\x1b]52;c;cHduZWQ=\x07")
    assert "publish.result_refused" in up.said()


def runs_of(task_ids: dict[str, str], folder: Path) -> dict[str, list[tuple[str, ...]]]:
    """What is run of every command, in an order that leaves each something to show."""
    return runs_about_tasks(task_ids) | runs_about_other_things(task_ids, folder) | runs_about_files(task_ids, folder)


def runs_about_tasks(task_ids: dict[str, str]) -> dict[str, list[tuple[str, ...]]]:
    ids = task_ids.values()
    return {
        "list": [
            ("list",),
            ("list", "--limit", "1"),
            ("list", "--q", EVIL[-7:]),
            ("list", "--cursor", EVIL),
            ("list", "--account-id", EVIL[:250]),
            ("list", "--status", "unknown"),
            ("list", "--platform", EVIL),
        ],
        "show": [("show", task_id) for task_id in (*ids, EVIL)],
        "resolve": [
            ("resolve", task_ids["failed"], "--succeeded", "--why", EVIL, "--by", EVIL),
            ("resolve", task_ids["unknown"], "--succeeded", "--why", EVIL, "--publish-url", EVIL),
            ("resolve", task_ids["unknown"], "--succeeded", "--why", EVIL, "--by", EVIL),
            ("resolve", task_ids["unknown"], "--send-again", "--why", EVIL, "--by", EVIL),
            ("show", task_ids["unknown"]),
        ],
        "undo": [("undo", EVIL)],
        "retry": [("retry", task_id) for task_id in (*ids, EVIL)] + [("retry", *ids, EVIL), ("retry", "--q", "FORGED")],
        "edit": [
            ("edit", task_ids["scheduled"], "--set", f"title={EVIL}", "--by", EVIL, "--why", EVIL),
            ("edit", task_ids["scheduled"], "--set", f"schedule_time={EVIL}"),
            ("edit", task_ids["scheduled"], "--set", EVIL),
            ("edit", *ids, EVIL, "--patch", json.dumps({EVIL: EVIL}), "--dry-run"),
            ("edit", *ids, "--patch", EVIL),
            ("show", task_ids["scheduled"]),
        ],
    }


def runs_about_other_things(task_ids: dict[str, str], folder: Path) -> dict[str, list[tuple[str, ...]]]:
    return {
        "schedule": [
            ("schedule", "list"),
            ("schedule", "show", "evil"),
            ("schedule", "next", "evil"),
            ("schedule", "edit", "evil", "--set", f"title={EVIL}x"),
            ("schedule", "edit", "evil", "--cron", EVIL),
            ("schedule", "pause", "evil"),
            ("schedule", "resume", "evil"),
            ("schedule", "remove", EVIL),
            ("schedule", "add", EVIL, "--cron", EVIL, "--timezone", EVIL, "--until", EVIL, "--data", f"@{EVIL}"),
            ("schedule", "add", EVIL, "--cron", EVIL, "--timezone", EVIL, "--until", EVIL, "--data", "{}"),
        ],
        "accounts": [("accounts", "add", "evil", EVIL[:250]), ("accounts", "list"), ("accounts", "show", "evil", EVIL)],
        "callbacks": [("callbacks", "list", task_ids["failed"]), ("callbacks", "redeliver", EVIL)],
        "fanout": [("fanout", "post", str(folder / EVIL)), ("fanout", "show", EVIL), ("fanout", "retry", EVIL)],
        "files": [("files", "list"), ("files", "show", EVIL), ("files", "upload", str(folder / EVIL))],
        "limits": [
            ("limits", "pause", "--platform", "evil", "--account-id", EVIL[:250], "--reason", EVIL),
            ("limits",),
            ("limits", "resume", "--platform", EVIL),
        ],
        "cancel": [("cancel", id_) for id_ in (*task_ids.values(), EVIL)]
        + [("cancel", *task_ids.values(), EVIL, "--dry-run")],
        "resume": [("resume", "--dry-run"), ("resume",)],
        "audit": [("audit",), ("audit", "--who", EVIL), ("audit", "--target", EVIL), ("audit", "--after", EVIL)],
        "keys": [("keys", "list"), ("keys", "whoami"), ("keys", "revoke", EVIL), ("keys", "create", EVIL)],
    }


def runs_about_files(task_ids: dict[str, str], folder: Path) -> dict[str, list[tuple[str, ...]]]:
    backup = str(folder / f"backup-{os.urandom(4).hex()}.db")
    return {
        "health": [("health",), ("health", "--ready"), ("health", "--worker")],
        "doctor": [("doctor",), ("doctor", "--url", EVIL)],
        "archive": [("archive", "--older-than-days", "1"), ("archive", "--older-than-days", EVIL)],
        "purge": [("purge", "--archived-before", EVIL), ("purge", "--archived-before", "2020-01-01", "--yes")],
        "migrate": [("migrate",), ("migrate", "--database", f"postgresql://{EVIL}")],
        "compact": [("compact",), ("compact", "--database", str(folder / EVIL))],
        "import": [("import", str(folder / EVIL.replace("/", "")))],
        "backup": [("backup", backup), ("backup", str(folder / "none" / EVIL))],
        "restore": [("restore", str(folder / EVIL))],
        "move": [("move", str(folder / EVIL), EVIL), ("move", str(folder / "data" / "everpost.db"), EVIL)],
        "up": [("up",), ("up", "--host", EVIL)],
        "tail": [("tail", task_ids["failed"]), ("tail", EVIL), ("tail", "--account-id", EVIL, "--platform", EVIL)],
        "export": [  # into a pipe, it writes exactly what tasks have
            ("export", "--q", "nothing has this"),
            ("export", "--output", str(folder / "none" / EVIL)),
            ("export", "--output", str(folder / EVIL), "--resume"),
        ],
        "completion": [("completion", "zsh"), ("completion", EVIL)],
    }


def acting(text: str) -> list[str]:
    """The lines with something in them that acts, reorders or hides."""
    return [line for line in text.split("\n") if not is_printable(line)]


def test_no_command_writes_a_character_that_acts_reorders_or_hides(up: Up, task_ids: dict[str, str]) -> None:
    runs = runs_of(task_ids, up.folder)
    assert set(COMMANDS) == set(runs) | set(SHOW_NO_TASKS)
    for arguments in (arguments for of_command in runs.values() for arguments in of_command):
        for form in ((), ("--json",)):
            done = up.everpost(*arguments, *form)
            shown = done.stdout + done.stderr
            assert not acting(shown), (arguments, shown)
            assert "Traceback" not in shown, (arguments, shown)
            assert not re.search("^FORGED", shown, flags=re.MULTILINE), (arguments, shown)


def test_json_answers_have_foreign_text_exactly(up: Up, task_ids: dict[str, str]) -> None:
    shown = json.loads(up.everpost("show", task_ids["failed"], "--json").stdout)
    assert shown["data"]["title"] == EVIL
    assert shown["data"]["task_data"][EVIL] == [EVIL, {EVIL: EVIL}]


@pytest.mark.chaos
def test_on_a_terminal_only_our_own_styles_are_written(up: Up, task_ids: dict[str, str]) -> None:
    shows = [("show", task_id) for task_id in (task_ids["failed"], task_ids["unknown"], EVIL_ID)]
    for arguments in (("list",), *shows, ("export",), ("export", "--format", "csv")):
        shown = on_terminal(up.env, *arguments)
        assert not acting(STYLE.sub("", shown).replace("\r\n", "\n")), shown
        assert "38;5;213" not in "".join(match[0] for match in STYLE.finditer(shown))


def test_a_shell_completes_ids_with_titles_that_do_nothing(up: Up, task_ids: dict[str, str]) -> None:
    asked = {"_EVERPOST_COMPLETE": "zsh_complete", "COMP_WORDS": "everpost show ", "COMP_CWORD": "2"}
    shown = run_process(env={**up.env, **asked}).stdout
    assert task_ids["failed"] in shown
    assert EVIL_ID.split("\x1b", maxsplit=1)[0] not in shown.splitlines()
    assert not acting(shown)


@pytest.mark.chaos
def test_the_logs_of_api_and_worker_have_no_character_that_acts(up: Up, task_ids: dict[str, str]) -> None:
    up.everpost("retry", task_ids["failed"])
    assert task_ids["failed"] in up.said()
    assert not acting(up.said())
