"""`everpost import`, `archive`, `purge` and `doctor` on real files, without a server."""

import asyncio
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from cli_support import DEADLINE_S, command, environment, free_port, run, run_process, until
from everpost.cli import SECTIONS
from everpost.store import maintenance_of
from everpost.store.moving import Mark, Role
from everpost.store.sqlite.file.new_file import new_file
from everpost.store.sqlite.schema.migrate import migrate
from sqlite.original_database import insert, make_original, make_task_queue, queued_task
from sqlite.original_database import run as sql

OLD, NEW = "2020-01-01T00:00:00.000Z", "2099-01-01T00:00:00.000Z"
HISTORY = "INSERT INTO publish_tasks (job_id, status, created_at, completed_at, queued_at, task_data) VALUES "


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(DATA=str(tmp_path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with two old successes, a new one, and an old failure."""
    path = tmp_path / "everpost.db"
    migrate(path)
    rows = [("old-1", "success", OLD), ("old-2", "success", OLD), ("new", "success", NEW), ("failed", "failed", OLD)]
    values = ", ".join(f"('{name}', '{status}', '{at}', '{at}', '{at}', '{{}}')" for name, status, at in rows)
    sql(path, HISTORY + values)
    return path


def ids(path: Path, table: str) -> list[str]:
    return [str(job_id) for (job_id,) in sql(path, f"SELECT job_id FROM {table} ORDER BY job_id")]


def findings(
    env: Mapping[str, str], *arguments: str, run: Callable[..., CompletedProcess[str]] = run
) -> tuple[int, dict[str, Any]]:
    done = run("doctor", "--json", *arguments, env=env)
    return done.returncode, {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_old_successes_are_archived_after_a_dry_run(path: Path, env: dict[str, str]) -> None:
    dry = run("archive", "--older-than-days", "90", "--dry-run", env=env)
    assert (dry.returncode, dry.stdout) == (0, "2 tasks would be archived.\n")
    assert ids(path, "publish_tasks_archive") == []
    done = run("archive", "--older-than-days", "90", env=env)
    assert (done.returncode, done.stdout) == (0, "2 tasks archived.\n")
    assert ids(path, "publish_tasks_archive") == ["old-1", "old-2"]
    assert ids(path, "publish_tasks") == ["failed", "new"]


def test_purge_destroys_only_tasks_archived_before_and_only_when_confirmed(path: Path, env: dict[str, str]) -> None:
    run("archive", "--older-than-days", "90", env=env)
    refused = run("purge", "--archived-before", "2099-01-01", env=env)
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    earlier = run("purge", "--archived-before", "2020-01-01", "--yes", env=env)
    assert earlier.stdout == "0 tasks destroyed.\n"
    assert len(ids(path, "publish_tasks_archive")) == 2
    done = run("purge", "--archived-before", "2099-01-01", "--yes", env=env)
    assert (done.returncode, done.stdout) == (0, "2 tasks destroyed.\n")
    assert ids(path, "publish_tasks_archive") == []
    assert ids(path, "publish_tasks") == ["failed", "new"]


def test_an_invalid_date_is_reported_in_one_line(path: Path, env: dict[str, str]) -> None:
    done = run("purge", "--archived-before", "soon", "--yes", env=env)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "'soon' is not a date" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["archive", "--older-than-days", "1"], ["purge", "--archived-before", "2020-01-01"]]
)
def test_a_database_that_is_not_there_is_not_made(arguments: list[str], env: dict[str, str], tmp_path: Path) -> None:
    done = run(*arguments, env=env)
    assert (done.returncode, "There is no database" in done.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_an_original_queue_is_imported_once(tmp_path: Path, env: dict[str, str]) -> None:
    source = make_task_queue(tmp_path / "task_queue.db")
    insert(source, "task_queue", *(queued_task(number) for number in range(3)))
    first = run("import", str(source), env=env)
    assert (first.returncode, first.stdout) == (0, "3 tasks read: 3 added, 0 here already.\n")
    second = run("import", str(source), env=env)
    assert second.stdout == "3 tasks read: 0 added, 3 here already.\n"


CHANGES = (
    "migrate", "archive --older-than-days 90", "purge --archived-before 2090-01-01 --yes", "compact",
    "import {folder}/task_queue.db", "backup {folder}/backup.db", "restore {folder}/backup.db",
    "files register {folder}/media", "files unregister media", "move {folder}/everpost.db --abandon",
)  # fmt: skip
"""A call of each command that works on the database. Only `backup` changes nothing."""


def test_each_command_that_changes_the_database_keeps_one_entry(
    path: Path, env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "media").mkdir()
    make_task_queue(tmp_path / "task_queue.db")
    alone = {name for section in ("The database file", "Media") for name in SECTIONS[section]}
    assert {call.split()[0] for call in CHANGES} == alone - {"doctor"}
    for call in CHANGES:
        if call.startswith("move"):
            mark = Mark(move_id="m", role=Role.SOURCE, other="another.db")
            asyncio.run(set_mark(path, mark))
        done = run(*call.format(folder=tmp_path).split(), env=env)
        assert done.returncode == 0, (call, done.stderr)
        if call.startswith("restore"):  # the backup has the entries before it
            assert sql(path, "SELECT count(*) FROM audit_log") == [(5 + 1,)]
    kept = sql(path, "SELECT action, how, outcome FROM audit_log ORDER BY audit_id")
    wanted = [call.split()[0] for call in CHANGES if not call.startswith("backup")]
    wanted[-3:] = ["files register", "files unregister", "move --abandon"]
    assert kept == [(f"command {command}", "command", "ok") for command in wanted]
    for refused in ("archive --dry-run", "restore {folder}/nothing", "move {folder}/everpost.db --abandon"):
        run(*refused.format(folder=tmp_path).split(), env=env)
    assert len(sql(path, "SELECT 1 FROM audit_log")) == len(kept)


async def set_mark(path: Path, mark: Mark) -> None:
    moved = await maintenance_of(str(path)).open_moved()
    await moved.set_mark(None, mark)
    await moved.close()


def test_a_file_that_is_not_there_is_not_imported(tmp_path: Path, env: dict[str, str]) -> None:
    done = run("import", str(tmp_path / "nothing.db"), env=env)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "nothing.db" in done.stderr


def test_a_backup_is_a_whole_database_and_overwrites_nothing(path: Path, env: dict[str, str], tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    done = run("backup", str(target), env=env)
    assert (done.returncode, "checked" in done.stdout) == (0, True)
    assert ids(target, "publish_tasks") == ids(path, "publish_tasks")
    assert migrate(target).kind == "current"
    again = run("backup", str(target), env=env)
    (tmp_path / "link.db").symlink_to(tmp_path / "nowhere" / "backup.db")
    assert run("backup", str(tmp_path / "link.db"), env=env).returncode == 1
    assert (tmp_path / "link.db").is_symlink()
    assert (again.returncode, "exists already" in again.stderr) == (1, True)
    assert not list(tmp_path.glob("*part"))


def test_a_backup_that_cannot_be_written_is_said_in_one_line(path: Path, env: dict[str, str], tmp_path: Path) -> None:
    done = run("backup", str(tmp_path / "nowhere" / "backup.db"), env=env)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def grow(path: Path, megabytes: int) -> None:
    """Give the database so much to copy."""
    sql(
        path,
        HISTORY + ", ".join(f"('large-{n}', 'failed', '', '', '', hex(zeroblob(500000)))" for n in range(megabytes)),
    )


def test_a_backup_that_is_killed_leaves_nothing_by_its_name_and_the_next_one_succeeds(
    path: Path, env: dict[str, str], tmp_path: Path
) -> None:
    grow(path, 40)
    target, partial = tmp_path / "backup.db", tmp_path / "backup.db.everpost-part"
    killed = subprocess.Popen(command("backup", str(target)), env=env)
    until(lambda: partial.exists() and partial.stat().st_size, "the beginning of a copy")
    killed.kill()
    killed.wait()
    assert (target.exists(), partial.exists()) == (False, True)
    assert run("backup", str(target), env=env).returncode == 0
    assert ids(target, "publish_tasks") == ids(path, "publish_tasks")
    assert not partial.exists()


def test_a_backup_that_finds_no_room_leaves_nothing(path: Path, env: dict[str, str], tmp_path: Path) -> None:
    grow(path, 2)
    small = ["prlimit", "--fsize=1000000", *command("backup", str(tmp_path / "backup.db"))]
    done = subprocess.run(small, env=env, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "cannot be written" in done.stderr
    assert not list(tmp_path.glob("backup.db*"))


def test_two_backups_at_once_do_not_write_into_one_file(path: Path, env: dict[str, str], tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    with new_file(target, source=path, like=path):
        refused = run("backup", str(target), env=env)
    assert (refused.returncode, "Another process is making" in refused.stderr) == (1, True)
    assert run("backup", str(target), env=env).returncode == 0


def test_a_part_file_of_another_program_is_left_alone(path: Path, env: dict[str, str], tmp_path: Path) -> None:
    others = {tmp_path / f"{name}.part": f"a download of {name}" for name in ("backup.db", "everpost.db")}
    for other, text in others.items():
        other.write_text(text)
    for arguments in (["backup", str(tmp_path / "backup.db")], ["restore", str(tmp_path / "backup.db")]):
        assert run(*arguments, env=env).returncode == 0
    assert {other: other.read_text() for other in others if other.exists()} == others
    assert ids(path, "publish_tasks") == ["failed", "new", "old-1", "old-2"]


def test_a_backup_does_not_replace_a_file_that_came_while_it_was_made(
    path: Path, env: dict[str, str], tmp_path: Path
) -> None:
    grow(path, 40)
    target, partial = tmp_path / "backup.db", tmp_path / "backup.db.everpost-part"
    begun = subprocess.Popen(command("backup", str(target)), env=env, stderr=subprocess.PIPE, text=True)
    until(lambda: partial.exists() and partial.stat().st_size, "the beginning of a copy")
    target.write_text("of another program")
    _, told = begun.communicate(timeout=DEADLINE_S)
    assert (begun.returncode, target.read_bytes()) == (1, b"of another program")
    assert ("exists already" in told, partial.exists()) == (True, False)


def test_a_file_with_the_name_of_an_unfinished_copy_is_not_emptied(
    path: Path, env: dict[str, str], tmp_path: Path
) -> None:
    backup = tmp_path / "everpost.db.everpost-part"
    path.rename(backup)
    settings = {**env, "EVERPOST_DATABASE": str(backup)}
    for done in (run("backup", str(path), env=settings), run("restore", str(backup), env=env)):
        assert (done.returncode, "give it another name first" in done.stderr, done.stderr.count("\n")) == (1, True, 1)
        assert ids(backup, "publish_tasks") == ["failed", "new", "old-1", "old-2"]


def test_a_backup_can_be_read_by_those_who_can_read_the_database(
    path: Path, env: dict[str, str], tmp_path: Path
) -> None:
    path.chmod(0o640)
    run("backup", str(tmp_path / "backup.db"), env=env)
    assert (tmp_path / "backup.db").stat().st_mode & 0o777 == 0o640


def test_restore_reports_what_it_did_and_the_next_step(path: Path, env: dict[str, str], tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    run("backup", str(backup), env=env)
    sql(path, "DELETE FROM publish_tasks")
    done = run("restore", str(backup), env=env)
    assert done.returncode == 0
    assert "everpost resume" in done.stdout
    assert ids(path, "publish_tasks") == ["failed", "new", "old-1", "old-2"]
    told = json.loads(run("restore", str(backup), "--json", env=env).stdout)
    assert (told["ended"], told["held"]) == (4, 0)
    refused = run("restore", str(tmp_path / "nothing.db"), env=env)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)


def test_doctor_finds_a_fresh_installation_well_and_makes_nothing(tmp_path: Path, env: dict[str, str]) -> None:
    code, found = findings({**env, "EVERPOST_PORT": str(free_port())})
    assert code == 0
    assert "does not exist yet" in found["file"]["value"]
    assert list(tmp_path.iterdir()) == []


def test_doctor_says_what_it_sees_in_a_database(path: Path, env: dict[str, str]) -> None:
    sql(path, HISTORY + f"('who-knows', 'unknown', '{NEW}', '{NEW}', '{NEW}', '{{}}')")
    code, found = findings(env)
    assert (code, found["ready"]["ok"]) == (1, False)  # no API answers for a database that was used
    assert (found["schema"]["value"], found["pragmas"]["value"]) == ("up to date", "as set")
    assert found["outcome unknown"]["value"] == "1"
    assert found["by status"]["value"] == "1 failed, 3 success, 1 unknown"


def test_doctor_finds_a_task_in_two_tables(path: Path, env: dict[str, str]) -> None:
    sql(
        path,
        "INSERT INTO task_queue (task_id, task_type, accepted_by, created_at) "
        f"VALUES ('old-1', 'publish', 'somebody', '{NEW}'), ('inherited', 'publish', NULL, '{NEW}')",
    )
    sql(path, HISTORY + f"('inherited', 'success', '{NEW}', '{NEW}', '{NEW}', '{{}}')")
    code, found = findings(env)
    assert (code, found["in two tables"]["value"]) == (1, "1")
    assert "old-1" in found["in two tables"]["advice"]
    assert "in two tables" not in findings(env, "--fast")[1]


def test_doctor_leaves_an_original_file_as_it_is(tmp_path: Path, env: dict[str, str]) -> None:
    path = make_original(tmp_path / "everpost.db")
    before = path.read_bytes()
    code, found = findings(env)
    assert (code, found["schema"]["value"][:21]) == (0, "the original system's")
    assert "column publish_tasks.retry_of" in found["missing"]["value"]
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["everpost.db"]


def test_doctor_says_that_a_file_is_not_a_database(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "everpost.db").write_bytes(b"words, words, words" * 200)
    code, found = findings(env)
    assert code == 1
    assert "is not an SQLite database" in found["file"]["advice"]


def test_doctor_finds_damage(path: Path, env: dict[str, str]) -> None:
    sql(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    root = int(sql(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'publish_tasks_created'")[0][0])
    size = int(sql(path, "PRAGMA page_size")[0][0])
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * 16)
    code, found = findings(env)
    assert code == 1
    assert found["quick_check" if "quick_check" in found else "file"]["ok"] is False


def test_doctor_says_when_redis_is_away_and_shows_no_secret(tmp_path: Path, env: dict[str, str]) -> None:
    settings = {
        **env,
        "EVERPOST_REDIS": f"redis://:secret-word@127.0.0.1:{free_port()}/0",
        "EVERPOST_TOKEN": "secret-token",
    }
    done = run("doctor", env=settings)
    assert done.returncode == 1
    assert "does not answer" in done.stdout
    assert "secret" not in done.stdout.replace("secrets", "")


def test_the_doctors_log_is_not_in_its_json(env: dict[str, str]) -> None:
    code, found = findings({**env, "EVERPOST_REDIS": "redis://127.0.0.1:1/0"})
    assert (code, found["server"]["value"]) == (1, "does not answer")


def test_doctor_finds_that_the_database_is_a_folder(env: dict[str, str], tmp_path: Path) -> None:
    code, found = findings({**env, "EVERPOST_DATABASE": "."})
    assert (code, found["file"]["ok"]) == (1, False)


def test_more_days_than_there_were_are_refused(env: dict[str, str], path: Path) -> None:
    done = run("archive", "--older-than-days", "9" * 20, env=env)
    assert (done.returncode, done.stderr.count("\n"), "defect" in done.stderr) == (2, 1, False)


def test_doctor_finds_a_platform_without_a_publisher(tmp_path: Path, env: dict[str, str]) -> None:
    file = tmp_path / "platforms.toml"
    file.write_text('[platforms.douyin]\npublisher = "nobody"\n')
    code, found = findings({**env, "EVERPOST_PLATFORMS": str(file)})
    assert (code, found["catalogue"]["value"]) == (1, "no publisher for douyin (nobody)")


def test_doctor_finds_an_option_that_its_publisher_refuses(tmp_path: Path, env: dict[str, str]) -> None:
    file = tmp_path / "platforms.toml"
    options = 'options = { url = "http://platform.example/secret-path", secret = "secret-word" }'
    file.write_text(f'[platforms.douyin]\npublisher = "webhook"\n{options}\n')
    code, found = findings({**env, "EVERPOST_PLATFORMS": str(file)})
    assert (code, found["catalogue"]["ok"], found["options"]["ok"]) == (1, True, False)
    assert found["options"]["advice"] == "platforms.douyin.options.url: must be https://, unless allow_http is true."
    file.write_text("")
    assert findings({**env, "EVERPOST_PLATFORMS": str(file)})[1]["options"]["ok"] is True


@pytest.mark.parametrize("error", [pytest.param("ValueError", marks=pytest.mark.chaos), "SystemExit"])
def test_doctor_finds_a_publisher_that_fails_at_its_start(tmp_path: Path, env: dict[str, str], error: str) -> None:
    (tmp_path / "theirs.py").write_text(f"print('some words')\nraise {error}('secret-word')\n")
    metadata = tmp_path / "theirs-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[everpost.publishers]\ntheirs = theirs:Publisher\n")
    file = tmp_path / "platforms.toml"
    file.write_text('[platforms.douyin]\npublisher = "theirs"\n')
    settings = {**env, "EVERPOST_PLATFORMS": str(file), "PYTHONPATH": str(tmp_path)}
    code, found = findings(settings, run=run_process)
    assert (code, found["options"]["ok"], error in found["options"]["advice"]) == (1, False, True)
    assert "secret-word" not in found["options"]["advice"]
