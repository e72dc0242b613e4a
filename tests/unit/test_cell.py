"""What crosses the line between a worker and its cell: errors and results keep their meaning."""

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from everpost.children import Child
from everpost.platforms import Catalogue
from everpost.publishing import (
    JobKeeper,
    Media,
    MediaFacts,
    NotFound,
    OvertakenError,
    Publisher,
    PublishError,
    PublishJob,
    PublishResult,
    RateLimitedError,
)
from everpost.settings import Settings
from everpost.task.attempt_rules import CellKind
from everpost.testing import PublisherDouble
from everpost_workers.cells.cell import Cell, error_of, meaning_of
from everpost_workers.cells.frames import Call, FrameLine, Missing, Returned, SentAccount, Verb
from everpost_workers.cells.isolation import Isolation
from everpost_workers.cells.process import CellServer, raised


class OwnError(RateLimitedError):
    """A publisher's own kind of a known error."""


class UnspeakableError(Exception):
    """An exception that cannot even be described."""

    def __str__(self) -> str:
        raise ValueError("no words")


def test_an_error_of_a_publisher_keeps_its_class_and_its_time() -> None:
    error = error_of(raised(1, OwnError("slow down", retry_after_s=7)))
    assert type(error) is RateLimitedError
    assert (str(error), error.retry_after_s) == ("slow down", 7)


@pytest.mark.parametrize("error", [KeyError("title"), asyncio.CancelledError("x"), SystemExit(3), GeneratorExit()])
def test_any_other_error_keeps_its_name_and_words(error: BaseException) -> None:
    told = error_of(raised(1, error))
    assert (type(told).__name__, str(told)) == (type(error).__name__, str(error))
    assert not isinstance(told, PublishError)
    assert type(error).__name__ in told.__notes__[0]


def test_an_error_that_cannot_be_told_is_told_as_that() -> None:
    told = error_of(raised(1, UnspeakableError()))
    assert (type(told).__name__, str(told)) == ("UnspeakableError", "str() failed: ValueError")


def test_results_and_verdicts_come_back_whole() -> None:
    result = PublishResult(provider_post_id="1", publish_url="u", detail={"a": [1.5, "x"]})
    assert meaning_of(Returned(1, "1", "u", b'{"a": [1.5, "x"]}')) == result
    assert meaning_of(Missing(1, NotFound.NO_VERDICT)) is NotFound.NO_VERDICT


async def test_a_job_reaches_its_cell_with_its_files() -> None:
    facts = MediaFacts(width=30, height=20, duration_s=1.5)
    place, root = Path("/srv/媒体/a.png"), Path("/srv/媒体")
    known: dict[str, Any] = {"file_id": "1", "sha256": "ab", "alt": "grey", "facts": facts}
    media = Media(path=place, root=root, size_bytes=1, filename="a.png", content_type="image/png", **known)
    call = Call(
        number=1,
        verb=Verb.PUBLISH,
        task_id="a",
        data=b"{}",
        platform="douyin",
        attempt=1,
        idempotency_key="k",
        saved=b"null",
        account=SentAccount("shop", b"{}", is_registered=False),
        files=(media,),
    )
    ours, theirs = socket.socketpair()
    line, cell = await FrameLine.on(ours), await FrameLine.on(theirs)
    line.write(call)
    assert await cell.read_request() == call
    line.close()
    cell.close()


async def test_a_call_that_is_cancelled_twice_does_not_go_on_in_its_cell() -> None:
    ours, theirs = socket.socketpair()
    child = Child([sys.executable, "-c", "import time; time.sleep(60)"])
    with theirs, child.starting():
        cell = Cell(child, await FrameLine.on(ours))
        platform = Catalogue.read(None).find("douyin")
        job = PublishJob(task_id="a", data={}, platform=platform, attempt=1, idempotency_key="k")
        call = asyncio.create_task(cell.call(Verb.PUBLISH, job))
        for _ in range(2):  # its time is over, and the worker is stopped
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        child.process.wait(2)
        await cell.close()


class Desk(JobKeeper):
    """Keeps the first checkpoint, and refuses every other."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.shown: list[tuple[float, float | None]] = []

    async def keep(self, checkpoint: bytes) -> None:
        await asyncio.sleep(0)
        if self.kept:
            raise OvertakenError("another attempt has the task")
        self.kept.append(checkpoint)

    def show(self, done: float, total: float | None) -> None:
        self.shown.append((done, total))


class Uploader(Publisher):
    """Says how far it has come, and saves two checkpoints."""

    def __init__(self) -> None:
        self.saved: list[object] = []

    async def publish(self, job: PublishJob) -> PublishResult:
        job.progress(1, 2)
        await job.checkpoint({"part": 1})
        self.saved.append(job.saved)
        await job.checkpoint({"part": 2})
        return PublishResult()

    async def look_up(self, job: PublishJob) -> NotFound:
        self.saved.append(job.saved)
        return NotFound.NOT_FOUND


async def test_a_cell_has_its_checkpoints_saved_by_the_worker_and_is_told_when_it_must_stop() -> None:
    ours, theirs = socket.socketpair()
    child = Child([sys.executable, "-c", "import time; time.sleep(60)"])
    catalogue, uploader, desk = Catalogue.read(None), Uploader(), Desk()
    server = CellServer({"douyin": uploader}, catalogue, Settings())
    serving = asyncio.create_task(server.serve(theirs))
    with child.starting():
        cell = Cell(child, await FrameLine.on(ours))
        job = PublishJob(
            task_id="a", data={}, platform=catalogue.find("douyin"), idempotency_key="k", saved={"part": 0}, keeper=desk
        )
        with pytest.raises(OvertakenError, match="another attempt has the task"):
            await cell.call(Verb.PUBLISH, job)
        assert await cell.call(Verb.LOOK_UP, job) is NotFound.NOT_FOUND
        cell.kill()
        await cell.close()
        await serving
        server._line.close()
    assert (desk.kept, desk.shown) == ([b'{"part":1}'], [(1, 2)])
    assert (job.saved, uploader.saved) == ({"part": 1}, [{"part": 1}, {"part": 1}])


class IdleCell:
    """A cell that was given no call yet."""

    is_alive, calls, begun, pid = True, 0, 0, 1

    def __init__(self) -> None:
        self.has_ended = asyncio.Event()

    def hang_up(self) -> None:
        self.has_ended.set()


@pytest.mark.parametrize("kind", [CellKind.SHARED, CellKind.OWN])
async def test_a_cell_does_not_end_as_idle_under_an_attempt_that_has_entered_it(
    kind: CellKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = IdleCell()

    async def start() -> IdleCell:
        return cell

    monkeypatch.setattr("everpost_workers.cells.cell.Cell.start", start)
    monkeypatch.setattr("everpost_workers.cells.isolation.IDLE_S", 0.01)
    isolation, publisher = Isolation(is_possible=True), PublisherDouble()
    async with isolation.enter(publisher, kind):
        pass
    async with isolation.enter(publisher, kind):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(cell.has_ended.wait(), 0.1)
    await asyncio.wait_for(cell.has_ended.wait(), 5)
