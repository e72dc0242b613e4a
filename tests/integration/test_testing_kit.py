"""What other teams get: the stack in-process, the fixture, the publisher double."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable
from ctypes.util import find_library
from pathlib import Path

import pytest

from everpost import embedded
from everpost.embedded import EmbeddedValkey, server_environment, server_program
from everpost.publishing import InvalidError, PublisherClass
from everpost.testing import ApiRefusal, PublisherDouble, Stack, eventually, everpost_stack


def test_a_project_without_pytest_asyncio_can_run_its_own_tests(tmp_path: Path) -> None:
    (tmp_path / "pytest_asyncio.py").write_text("raise ImportError('not installed')\n")
    (tmp_path / "test_theirs.py").write_text("def test_theirs() -> None:\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


THEIR_ANYIO_TEST = """
import pytest

@pytest.mark.anyio
async def test_theirs(everpost):
    task_id = await everpost.publish(platform="douyin", title="t")
    assert (await everpost.wait_until_ended(task_id))["status"] == "success"
"""


@pytest.mark.chaos
@pytest.mark.parametrize("has_pytest_asyncio", [pytest.param(True, marks=pytest.mark.chaos), False])
def test_a_test_that_anyio_runs_on_trio_is_told_to_run_on_asyncio(tmp_path: Path, has_pytest_asyncio: bool) -> None:
    pytest.importorskip("trio", reason="trio is not installed: pip install trio")
    if not has_pytest_asyncio:
        (tmp_path / "pytest_asyncio.py").write_text("raise ImportError('not installed')\n")
    (tmp_path / "test_theirs.py").write_text(THEIR_ANYIO_TEST)
    options = [] if has_pytest_asyncio else ["-p", "no:asyncio"]
    command = [sys.executable, "-m", "pytest", "-q", *options, "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed, 1 error" in done.stdout, done.stdout + done.stderr  # on asyncio, and on trio
    assert 'give such tests a fixture `anyio_backend` that returns "asyncio"' in done.stdout
    assert "Traceback" not in done.stdout
    assert "no running event loop" not in done.stdout


async def test_a_refusal_says_what_is_wrong(everpost: Stack) -> None:
    with pytest.raises(
        ApiRefusal, match=r"answered 422: .*catalogue has.* \(unknown_platform at \$\.platform\)"
    ) as refused:
        await everpost.publish(platform="nowhere")
    assert (refused.value.code, refused.value.response.status_code) == ("unknown_platform", 422)
    with pytest.raises(ApiRefusal, match="task_not_found"):
        await everpost.task("nobody")
    task_id = await everpost.publish()
    await everpost.wait_until_ended(task_id)
    with pytest.raises(ApiRefusal) as refused:
        await everpost.retry(task_id)
    assert refused.value.problem["code"] == refused.value.code == "task_succeeded"
    again = await everpost.retry(task_id, force=True)
    assert (await everpost.wait_until_ended(again))["retry_of"] == task_id


async def test_two_stacks_at_once_know_nothing_of_each_other() -> None:
    async with everpost_stack() as one, everpost_stack() as other:
        task_id = await one.publish()
        await one.wait_until_ended(task_id)
        assert (await other.client.get(f"/api/v1/tasks/{task_id}")).status_code == 404
        assert other.publisher.attempts == []


async def test_nothing_is_left_behind() -> None:
    async with everpost_stack() as stack:
        await stack.publish()
        folder, socket = stack.settings.data, stack.valkey.address.removeprefix("unix://")
        valkey = stack.valkey.child
    assert valkey is not None
    assert valkey.exit_code is not None
    assert not folder.exists()
    assert not Path(socket).exists()  # noqa: ASYNC240 - one look


async def test_a_start_that_is_cancelled_leaves_nothing_running() -> None:
    before = asyncio.all_tasks()

    async def starting_app() -> bool:
        return any("_alive" in repr(task) for task in asyncio.all_tasks())

    stack = asyncio.create_task(everpost_stack().__aenter__())
    await eventually(starting_app, what="the app's start")
    stack.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stack
    assert asyncio.all_tasks() - {stack} == before


async def test_a_valkey_that_does_not_start_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "valkey-server"
    server.write_text("#!/bin/sh\nexec sleep 60\n")
    server.chmod(0o755)
    monkeypatch.setattr("everpost.embedded.server_program", lambda: str(server))
    monkeypatch.setattr("everpost.embedded.START_TIMEOUT_S", 0.1)
    valkey = EmbeddedValkey(tmp_path / "valkey")
    with pytest.raises(TimeoutError):
        await valkey.start()
    assert valkey.child is not None
    assert valkey.child.exit_code is not None
    assert not valkey.socket.parent.exists()


def memory_map(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text("ascii")


@pytest.mark.skipif(sys.platform != "linux", reason="the extra has no allocator elsewhere")
@pytest.mark.skipif(
    find_library("atomic") is None,
    reason="libatomic, which the allocator needs, is not installed (Debian: apt install libatomic1)",
)
async def test_the_server_of_the_extra_comes_first_and_gets_an_allocator_and_one_on_path_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "valkey-server"
    server.write_text("#!/bin/sh\nexit 1\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LD_PRELOAD", "libc.so.6")
    valkey = await EmbeddedValkey(tmp_path / "valkey").start()
    assert valkey.child is not None
    try:
        maps = memory_map(valkey.child.pid)
    finally:
        await valkey.stop()
    assert "libmimalloc" in maps
    monkeypatch.setattr("everpost.embedded._program_of_extra", lambda: None)
    assert server_program() == str(server)
    assert server_environment() == {}


def gone(library: Path, folder: Path) -> Path:
    return folder / library.name


def below_a_folder_with_a_space(library: Path, folder: Path) -> Path:
    (folder / "a folder").mkdir()
    return Path(shutil.copy(library, folder / "a folder"))


def below_a_folder_with_a_colon(library: Path, folder: Path) -> Path:
    (folder / "a:folder").mkdir()
    return Path(shutil.copy(library, folder / "a:folder"))


def in_need_of_what_is_not_there(library: Path, folder: Path) -> Path:
    lame = folder / library.name
    lame.write_bytes(library.read_bytes().replace(b"libpthread.so.0", b"libmissing.so.0"))
    return lame


def no_library(library: Path, folder: Path) -> Path:
    (folder / library.name).write_bytes(b"no library")
    return folder / library.name


@pytest.mark.skipif(sys.platform != "linux", reason="the extra has no allocator elsewhere")
@pytest.mark.parametrize(
    "spoil",
    [gone, below_a_folder_with_a_space, below_a_folder_with_a_colon, in_need_of_what_is_not_there, no_library],
)
async def test_an_allocator_that_cannot_be_loaded_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path, Path], Path]
) -> None:
    found = embedded._find_allocator()
    assert found is not None
    allocator = str(spoil(Path(found), tmp_path))
    monkeypatch.setattr("everpost.embedded._find_allocator", lambda: allocator)
    valkey = await EmbeddedValkey(tmp_path / "valkey").start()
    await valkey.stop()
    assert "ld.so" not in (tmp_path / "valkey" / "valkey.log").read_text()
    assert server_environment() == {}


async def test_a_folder_of_one_s_own_is_kept(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path) as stack:
        await stack.publish()
    assert (tmp_path / "everpost.db").exists()


async def test_the_double_fails_as_told_and_then_works(everpost: Stack) -> None:
    everpost.publisher.fail_when(lambda job: InvalidError("bad title") if job.data.get("title") == "bad" else None)
    bad, good = await everpost.publish(title="bad"), await everpost.publish(title="good")
    assert (await everpost.wait_until_ended(bad))["error_message"] == "bad title"
    assert (await everpost.wait_until_ended(good))["status"] == "success"
    assert everpost.publisher.times_published(bad) == 0


async def test_the_double_declares_the_class_it_is_given() -> None:
    async with everpost_stack(publisher=PublisherDouble(PublisherClass.KEYED)) as stack:
        stack.publisher.fail_next(RuntimeError("a defect"))
        task = await stack.wait_until_ended(await stack.publish())
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["retry", "success"]


async def test_a_token_is_sent_by_the_stack_s_own_client() -> None:
    async with everpost_stack(token="a secret of twenty") as stack:
        assert (await stack.wait_until_ended(await stack.publish()))["status"] == "success"


async def test_a_wait_that_times_out_shows_the_last_value() -> None:
    async def never() -> int:
        return 0

    with pytest.raises(TimeoutError, match=r"the moon did not come true within 0\.01 s; last seen: 0"):
        await eventually(never, timeout_s=0.01, what="the moon")
