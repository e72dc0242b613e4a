"""The publisher `command` on real processes: what a program gets, what it says, and how all of it ends."""

import asyncio
import json
import os
import resource
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command_kit import (
    KEY,
    SETTINGS,
    KeptCheckpoints,
    folders_of,
    is_running,
    job_of,
    media_of,
    parent_of,
    pids_in,
    publisher_of,
    run,
)
from everpost.errors import SettingsError
from everpost.publishing import (
    AccountBlockedError,
    AuthError,
    InvalidError,
    NeedsPersonError,
    NotFound,
    OutcomeUnknownError,
    OvertakenError,
    PermanentError,
    PublisherClass,
    PublishError,
    RateLimitedError,
    TransientError,
)
from everpost.task.model import BytesSent, SendPhase
from everpost.testing import AccountDouble, eventually
from everpost_workers.publishers.command.program import LONGEST_LINE
from everpost_workers.publishers.command.publisher import CommandPublisher

POSTED = """echo '{"type":"result","provider_post_id":"p1","publish_url":"https://example.org/p1"}'"""
LONG_PROCESS = "sleep 300"


def slow(*case: Any) -> Any:
    """A case like others, for `make chaos` only: each starts two processes."""
    return pytest.param(*case, marks=pytest.mark.chaos)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the programs' folders are made; none is left at the end of a test."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert folders_of(folder) == []


async def test_a_program_gets_the_task_and_its_result_is_the_post(tmp_path: Path) -> None:
    media = media_of(tmp_path, "clip.MP4")
    given = tmp_path / "given"
    job = job_of({"title": "测试", "x": [1, None]}, media=media, attempt=2, saved={"session": 7})
    script = f"cat > {given}; cat $(dirname $PWD)/$(basename $PWD)/file-1.mp4 >&2; pwd >> {given}; {POSTED}"
    result = await run(script, job)
    assert (result.provider_post_id, result.publish_url) == ("p1", "https://example.org/p1")
    line, folder = given.read_text("utf-8").splitlines()
    request = json.loads(line)
    assert request == {
        "protocol": 1,
        "action": "publish",
        "task_id": "t1",
        "platform": "douyin",
        "attempt": 2,
        "idempotency_key": KEY,
        "data": {"title": "测试", "x": [1, None]},
        "files": [
            {
                "path": f"{folder}/file-1.mp4",
                "filename": "clip.MP4",
                "content_type": "video/mp4",
                "size_bytes": 5,
                "sha256": None,
                "alt": None,
            }
        ],
        "account": {"id": "", "options": {}},
        "checkpoint": {"session": 7},
        "folder": folder,
        "credentials_file": None,
    }


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1, OutcomeUnknownError),
        slow(64, PermanentError),
        (65, InvalidError),
        slow(66, InvalidError),
        slow(69, TransientError),
        (75, TransientError),
        (77, AuthError),
        slow(78, PermanentError),
        (9, RateLimitedError),  # by an option
        slow(255, OutcomeUnknownError),
    ],
)
async def test_an_exit_code_has_an_error_class(code: int, expected: type[PublishError]) -> None:
    with pytest.raises(expected, match=f"ended with {code}: it went wrong") as caught:
        await run(f"echo 'it went wrong' >&2; exit {code}", exit_codes={"9": "rate_limited"})
    assert type(caught.value) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("transient", TransientError),
        ("rate_limited", RateLimitedError),
        slow("auth", AuthError),
        slow("needs_person", NeedsPersonError),
        ("account_blocked", AccountBlockedError),
        slow("invalid", InvalidError),
        slow("permanent", PermanentError),
        ("unknown", OutcomeUnknownError),
    ],
)
async def test_a_reported_error_counts_whatever_the_exit_code(name: str, expected: type[PublishError]) -> None:
    line = json.dumps({"type": "error", "error_class": name, "message": "no", "retry_after_s": 7})
    with pytest.raises(expected, match=r"^no$") as caught:
        await run(f"echo '{line}'; exit 3")
    assert type(caught.value) is expected
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 0", r"ended with 0 \(it reported no result\)"),
        ("kill -9 $$", "was ended by SIGKILL"),
        ("kill -TERM $$", "was ended by SIGTERM"),
        ("echo published", r"ended with 0; 1 lines of its output were no messages: published \(it"),
        ("""echo '{"type":"not_found"}'; exit 0""", "ended with 0"),
    ],
)
async def test_a_program_that_does_not_say_how_it_went_leaves_the_outcome_unknown(script: str, message: str) -> None:
    with pytest.raises(OutcomeUnknownError, match=message):
        await run(script)


async def test_a_program_that_last_said_that_nothing_was_sent_is_tried_again() -> None:
    nothing = """echo '{"type":"status","phase":"nothing_sent","words":"preparing"}'"""
    with pytest.raises(TransientError):
        await run(f"{nothing}; exit 1")
    job = job_of()
    with pytest.raises(OutcomeUnknownError):
        await run(f"""{nothing}; echo '{{"type":"status","phase":"sending","words":"now"}}'; exit 1""", job)
    evidence = job.trace.evidence(None)
    assert (evidence.phase, evidence.bytes_sent, evidence.last_words) == (SendPhase.SENDING, BytesSent.YES, "now")


@pytest.mark.parametrize("after", ["exit 3", "kill -9 $$", """echo '{"type":"error","error_class":"invalid"}'"""])
async def test_a_post_that_was_reported_stays_a_post(after: str) -> None:
    assert (await run(f"{POSTED}; {after}")).provider_post_id == "p1"


async def test_what_is_no_message_is_passed_over() -> None:
    chatter = (
        "INFO uploading",
        r"\377\376",
        "{",
        "[1]",
        '{"type":"party"}',
        '{"type":"progress","done":"many"}',
        "[" * 5_000,
        "",
    )
    script = "".join(f"printf '{line}\\n'; " for line in chatter)
    assert (await run(f"{script} {POSTED}")).provider_post_id == "p1"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (f"head -c {LONGEST_LINE + 1} /dev/zero; {LONG_PROCESS}", "a line of its output has more than"),
        ("yes >&2", "its standard error has more than 100,000 bytes"),
        ('yes \'{"type":"progress","done":1}\'', "its output has more than 100,000 bytes"),
    ],
)
async def test_a_program_that_says_too_much_is_ended(script: str, message: str) -> None:
    with pytest.raises(OutcomeUnknownError, match=f"was ended, because {message}"):
        await run(script, max_output_bytes=1_000_000 if "/dev/zero" in script else 100_000)


async def test_a_checkpoint_is_kept_before_it_is_acknowledged() -> None:
    keeper = KeptCheckpoints()
    script = f"""echo '{{"type":"checkpoint","data":{{"id":1}}}}'; read -r saved <&3
        echo "{{\\"type\\":\\"checkpoint\\",\\"data\\":$saved}}"; read -r saved <&3
        echo '{{"type":"progress","done":1,"total":2}}'; {POSTED}"""
    await run(script, job_of(keeper=keeper))
    assert keeper.checkpoints == [{"id": 1}, {"type": "saved"}]
    assert keeper.progress == [(1, 2)]


async def test_a_checkpoint_that_cannot_be_kept_ends_the_program(tmp_path: Path) -> None:
    script = f"""echo $$ > {tmp_path}/pid; echo '{{"type":"checkpoint","data":"\\u0000"}}'; {LONG_PROCESS}"""
    with pytest.raises(OutcomeUnknownError, match="NUL"):
        await run(script)
    assert not any(map(is_running, pids_in(tmp_path / "pid")))


async def test_an_overtaken_attempt_ends_its_program(tmp_path: Path) -> None:
    class Overtaken(KeptCheckpoints):
        async def keep(self, checkpoint: bytes) -> None:
            raise OvertakenError("another attempt has it")

    script = f"""echo $$ > {tmp_path}/pid; echo '{{"type":"checkpoint","data":1}}'; {LONG_PROCESS}"""
    with pytest.raises(OvertakenError):
        await run(script, job_of(keeper=Overtaken()))
    assert not any(map(is_running, pids_in(tmp_path / "pid")))


def family(pids: Path) -> str:
    """A program with a child, and a grandchild that has left its session and ignores SIGTERM."""
    hidden = f"trap '' TERM; echo $$ >> {pids}; {LONG_PROCESS}"
    return f'echo $$ >> {pids}; {LONG_PROCESS} & echo $! >> {pids}; setsid sh -c "{hidden}" & wait; wait'


async def has_family(pids: Path) -> bool:
    return len(pids_in(pids)) >= 3


async def test_a_program_that_takes_too_long_is_killed_with_all_it_has_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(OutcomeUnknownError, match=r"was ended, because it took more than 0\.5 s"):
        await run(family(pids), timeout_s=0.5)
    assert len(pids_in(pids)) == 3
    assert not any(map(is_running, pids_in(pids)))


async def test_a_cancelled_attempt_leaves_no_process(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    attempt = asyncio.create_task(run(family(pids)))
    await eventually(lambda: has_family(pids))
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert not any(map(is_running, pids_in(pids)))


async def test_a_program_may_end_in_its_own_way_when_it_is_asked_to(tmp_path: Path) -> None:
    script = f"trap 'echo bye > {tmp_path}/bye; exit 0' TERM; echo $$ > {tmp_path}/pid; {LONG_PROCESS} & wait"
    attempt = asyncio.create_task(run(script, grace_s=10))
    await eventually(lambda: asyncio.to_thread(pids_in, tmp_path / "pid"))
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert (tmp_path / "bye").read_text() == "bye\n"


async def test_what_outlives_its_program_is_killed_and_delays_nothing(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f'setsid sh -c "echo \\$\\$ > {pids}; {LONG_PROCESS}" & until [ -s {pids} ]; do :; done; {POSTED}'
    async with asyncio.timeout(10):
        assert (await run(script)).provider_post_id == "p1"
    assert len(pids_in(pids)) == 1
    assert not any(map(is_running, pids_in(pids)))


VICTIM = """
import asyncio, sys
from command_kit import run
asyncio.run(run(sys.argv[1], grace_s=0))
"""


@pytest.mark.parametrize("killed", ["the worker", pytest.param("the guard", marks=pytest.mark.chaos)])
async def test_a_program_dies_with_the_killed(tmp_path: Path, folders: Path, killed: str) -> None:
    pids = tmp_path / "pids"
    path = os.pathsep.join(sys.path)
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", VICTIM, family(pids)),
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(folders)},
        stderr=asyncio.subprocess.DEVNULL,
    )
    await eventually(lambda: has_family(pids))
    program = pids_in(pids)[0]
    guard = parent_of(program)
    os.kill(worker.pid if killed == "the worker" else guard, signal.SIGKILL)

    async def is_over() -> bool:
        # A guard that is killed can end only the program and its group.
        left = pids_in(pids) if killed == "the worker" else pids_in(pids)[:2]
        return not any(map(is_running, left)) and folders_of(folders) == []

    try:
        await eventually(is_over)
    finally:
        for pid in filter(is_running, pids_in(pids)):
            os.kill(pid, signal.SIGKILL)
        await worker.wait()


WAITING_VICTIM = """
import asyncio, sys
from command_kit import KeptCheckpoints, job_of, run

class Slow(KeptCheckpoints):
    async def keep(self, checkpoint):
        print("asked", flush=True)
        await asyncio.Event().wait()

asyncio.run(run(sys.argv[1], job_of(keeper=Slow()), grace_s=0.5))
"""


async def test_a_program_whose_worker_dies_while_it_saves_does_not_go_on(tmp_path: Path, folders: Path) -> None:
    pids, posts = tmp_path / "pids", tmp_path / "posts"
    save = """echo '{"type":"checkpoint","data":1}'; read -r saved <&3"""
    script = f"trap '' TERM; echo $$ > {pids}; {save}; echo > {posts}"
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WAITING_VICTIM, script),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(folders)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"asked\n"
    (program,) = pids_in(pids)
    worker.kill()
    await worker.wait()

    async def is_over() -> bool:
        return not is_running(program) and folders_of(folders) == []

    await eventually(is_over)
    assert not posts.exists()


async def test_a_process_that_takes_too_much_memory_gets_none() -> None:
    command = [sys.executable, "-c", "block = b'x' * (200 << 20); print('got it')"]
    publisher = CommandPublisher({"command": command, "memory_mb": 100}, SETTINGS)
    with pytest.raises(OutcomeUnknownError, match="ended with 1: MemoryError"):
        await publisher.publish(job_of())


async def test_a_program_sees_only_the_variables_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERPOST_TOKEN", "worker-secret")
    monkeypatch.setenv("DISPLAY", ":1")
    account = AccountDouble("main", {"api-key": "c4nary-secret"}, {"channel": "news"})
    script = f"env > {tmp_path}/env; tr '\\0' ' ' < /proc/$$/cmdline > {tmp_path}/argv; cat > {tmp_path}/task; {POSTED}"
    await run(script, job_of(account=account), environment={"MODE": "test"}, pass_environment=["DISPLAY"])
    variables = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert (variables["CREDENTIAL_API_KEY"], variables["MODE"], variables["DISPLAY"]) == ("c4nary-secret", "test", ":1")
    assert "EVERPOST_TOKEN" not in variables
    assert "c4nary" not in (tmp_path / "argv").read_text() + (tmp_path / "task").read_text()
    assert json.loads((tmp_path / "task").read_text())["account"] == {"id": "main", "options": {"channel": "news"}}


async def test_credentials_in_a_file_are_private(tmp_path: Path) -> None:
    account = AccountDouble("main", {"token": "c4nary-secret"}, {})
    script = f"cp -p credentials.json {tmp_path}/got; env > {tmp_path}/env; {POSTED}"
    await run(script, job_of(account=account), credentials="file")
    assert json.loads((tmp_path / "got").read_text()) == {"token": "c4nary-secret"}
    assert stat.S_IMODE((tmp_path / "got").stat().st_mode) == 0o600
    assert "c4nary" not in (tmp_path / "env").read_text()


async def test_a_program_that_reads_nothing_of_a_large_task_can_still_publish() -> None:
    assert (await run(POSTED, job_of({"text": "x" * 1_000_000}))).provider_post_id == "p1"


async def test_a_program_that_the_system_cannot_start_is_a_permanent_error(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/nowhere/interpreter\n")
    program.chmod(0o700)
    with pytest.raises(PermanentError, match="cannot be started: No such file"):
        await CommandPublisher({"command": [str(program)]}, SETTINGS).publish(job_of())


async def test_a_program_with_too_many_variables_leaves_nothing_behind() -> None:
    with pytest.raises(PermanentError, match="cannot be started: Argument list too long"):
        await run(POSTED, environment={"LONG": "x" * 200_000})


async def test_a_program_is_started_later_if_the_system_has_no_free_descriptors(tmp_path: Path) -> None:
    publisher, job = publisher_of(f"touch {tmp_path}/ran; {POSTED}"), job_of()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, hard))
    try:
        with pytest.raises(TransientError, match="cannot be started: Too many open files"):
            await publisher.publish(job)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not (tmp_path / "ran").exists()
    assert (await publisher.publish(job)).provider_post_id == "p1"


async def test_a_file_that_is_gone_starts_no_program(tmp_path: Path) -> None:
    media = media_of(tmp_path, "clip.mp4")
    media.path.unlink()
    with pytest.raises(InvalidError, match="not found"):
        await run(f"touch {tmp_path}/ran", job_of(media=media))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("look_up", "expected"),
    [
        (POSTED, "p1"),
        ("""echo '{"type":"not_found"}'""", NotFound.NOT_FOUND),
        ("""echo '{"type":"not_found"}'; exit 1""", NotFound.NO_VERDICT),
        ("""echo '{"type":"error","error_class":"transient"}'""", NotFound.NO_VERDICT),
        ("exit 0", NotFound.NO_VERDICT),
    ],
)
async def test_a_second_command_looks_the_post_up(look_up: str, expected: Any) -> None:
    publisher = publisher_of("exit 1", f'grep -q \'"action":"look_up"\' && {{ {look_up}; }}')
    assert publisher.publisher_class is PublisherClass.CHECKABLE
    found = await publisher.look_up(job_of())
    assert (found if isinstance(found, NotFound) else found.provider_post_id) == expected


async def test_a_third_command_checks_an_account(tmp_path: Path) -> None:
    account = AccountDouble("main", {"token": "c4nary-secret"})
    assert await publisher_of("exit").check_account(account) is None
    given = tmp_path / "given"
    script = f"""cat > {given}; echo '{{"type":"result","detail":{{"said":"Hello"}}}}'"""
    assert await publisher_of("exit", check=["/bin/sh", "-c", script]).check_account(account) == "Hello"
    request = json.loads(given.read_text("utf-8"))
    assert (request["action"], request["platform"], request["account"]["id"]) == ("check_account", "", "main")
    for script, expected in (("exit 77", AuthError), ("exit 1", TransientError), ("exit 0", TransientError)):
        with pytest.raises(expected):
            await publisher_of("exit", check=["/bin/sh", "-c", script]).check_account(account)


def test_the_class_follows_from_the_options() -> None:
    assert publisher_of("exit").publisher_class is PublisherClass.NONE
    keyed = publisher_of("exit", key_lifetime_s=60)
    assert (keyed.publisher_class, keyed.key_lifetime_s) == (PublisherClass.KEYED, 60)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "command"),
        ({"command": []}, "command"),
        ({"command": "sau"}, "command"),
        ({"command": ["/nowhere/program"]}, "there is no program '/nowhere/program'"),
        ({"command": ["/bin/sh"], "look_up": ["/nowhere/program"]}, "options.look_up: there is no program"),
        ({"command": ["/bin/sh"], "look_up": ["/bin/sh"], "key_lifetime_s": 1}, "not both"),
        ({"command": ["/bin/sh"], "timeout_s": 301}, "EVERPOST_JOB_TIMEOUT"),
        ({"command": ["/bin/sh"], "exit_codes": {"0": "transient"}}, "exit_codes.'0'"),
        ({"command": ["/bin/sh"], "exit_codes": {"1": "sometimes"}}, "exit_codes"),
        ({"command": ["/bin/sh"], "environment": {"A B": ""}}, "environment.'A B'"),
        ({"command": ["/bin/sh"], "shell": True}, "shell"),
    ],
)
def test_a_mistake_in_the_options_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        CommandPublisher(options, SETTINGS)
