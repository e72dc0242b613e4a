"""The cell's own side: the worker's program, started again, that serves calls of publishers instead of jobs."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import msgspec
import structlog
import uvloop

from everpost.known_secrets import CURRENT, KnownSecrets
from everpost.platforms import Catalogue
from everpost.publishing import (
    JobKeeper,
    NotFound,
    OvertakenError,
    Publisher,
    PublishJob,
    PublishResult,
    SendTrace,
    errors,
)
from everpost.publishing.raised import retry_after_of, text_of
from everpost.publishing.results import checked_result
from everpost.publishing.trace import storable_text
from everpost.settings import Settings
from everpost_workers.cells.accounts import AskedAccount
from everpost_workers.cells.frames import (
    Answer,
    Call,
    FrameLine,
    Keep,
    Kept,
    Missing,
    Raised,
    Ready,
    Returned,
    Said,
    Shown,
    Stop,
    Told,
    Verb,
)
from everpost_workers.engine import cancel_until_done
from everpost_workers.publishers.registry import opened_publishers

log = structlog.get_logger("everpost.worker")

LONGEST_TRACE = 32_000  # characters of a traceback
SHOW_EVERY_S = 0.2  # progress that is reported more often is left out
LEAVING_S = 2.0  # for attempts and publishers, after the worker has closed the socket
OOM_SCORE = "1000"  # if memory runs out, the kernel kills the cell before the worker with all its tasks


def serve_calls(
    end: socket.socket, publishers: Mapping[str, Publisher], catalogue: Catalogue, settings: Settings
) -> NoReturn:
    """Serve until the worker closes the socket, then end the process, even if a publisher still runs something."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, "ascii")
    uvloop.run(CellServer(publishers, catalogue, settings).serve(end))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of publishers would keep the process alive


class CellServer:
    """Runs the calls of the worker, each in its own asyncio task.

    Args:
        publishers: By platform name, not opened yet.
        settings: The worker's settings.
    """

    def __init__(self, publishers: Mapping[str, Publisher], catalogue: Catalogue, settings: Settings) -> None:
        self._publishers = publishers
        self._catalogue = catalogue
        self._settings = settings
        self._redactor = settings.redactor
        self._running: dict[int, asyncio.Task[None]] = {}
        self._keepers: dict[int, FramedKeeper] = {}
        self._accounts: dict[int, AskedAccount] = {}

    async def serve(self, end: socket.socket) -> None:
        """Serve until the other side closes the connection."""
        self._line = await FrameLine.on(end)
        async with opened_publishers(self._publishers):
            self._line.write(Ready())
            while (request := await self._line.read_request()) is not None:
                if isinstance(request, Stop):
                    if (task := self._running.get(request.number)) is not None:
                        task.cancel()
                elif isinstance(request, Kept):
                    if (keeper := self._keepers.get(request.number)) is not None:
                        keeper.answer(request)
                elif isinstance(request, Told):
                    if (account := self._accounts.get(request.number)) is not None:
                        account.hear(request)
                else:
                    self._keepers[request.number] = FramedKeeper(self._line, request.number)
                    self._accounts[request.number] = AskedAccount(request.number, request.account, self._line.write)
                    self._running[request.number] = asyncio.create_task(self._answer(request))
            leaving = asyncio.get_running_loop().call_later(LEAVING_S, os._exit, 0)
            await cancel_until_done(*self._running.values())
        leaving.cancel()

    async def _answer(self, call: Call) -> None:
        try:
            answer = await self._call(call)
        except BaseException as error:  # noqa: BLE001 - whatever a publisher raises is its answer
            answer = raised(call.number, error)
        self._line.write(answer)
        await self._line.flush()
        del self._running[call.number], self._keepers[call.number], self._accounts[call.number]

    async def _call(self, call: Call) -> Answer:
        publisher = self._publishers[call.platform]
        data = msgspec.json.decode(call.data)
        account = self._accounts[call.number]
        unsaid = KnownSecrets(besides=account.secrets)
        unsaid.learn(self._redactor.texts_in(data))
        CURRENT.set(unsaid)
        job = PublishJob(
            task_id=call.task_id,
            data=data,
            platform=self._catalogue.find(call.platform),
            attempt=call.attempt,
            idempotency_key=call.idempotency_key,
            files=call.files,
            trace=ReportedTrace(line=self._line, number=call.number),
            saved=msgspec.json.decode(call.saved),
            keeper=self._keepers[call.number],
            account=account,
            trace_context=call.trace_context,
        )
        if call.verb is Verb.PUBLISH:
            result = PublishResult.storable(checked_result(await publisher.publish(job)))
        else:
            found = await publisher.look_up(job)
            if isinstance(found, NotFound):
                return Missing(call.number, found)
            result = PublishResult.storable(checked_result(found))
        detail = msgspec.json.encode(result.detail)
        return Returned(call.number, result.provider_post_id, result.publish_url, detail)


class ReportedTrace(SendTrace, kw_only=True):
    """A trace whose reports go to the worker at once, because the cell may die before it could report later."""

    line: FrameLine
    number: int

    def nothing_sent(self) -> None:
        """As in `SendTrace`, and sent to the worker."""
        super().nothing_sent()
        self._report()

    def say(self, words: str | None) -> None:
        """As in `SendTrace`, and sent to the worker; the other methods use this one."""
        super().say(words)
        self._report()

    def _report(self) -> None:
        self.line.write(Said(self.number, self.phase, self.bytes_sent, self.last_words))


class FramedKeeper(JobKeeper):
    """Has the worker keep what one call gives."""

    def __init__(self, line: FrameLine, number: int) -> None:
        self._line = line
        self._number = number
        self._asked: deque[asyncio.Future[str | None]] = deque()
        self._show_at = 0.0

    async def keep(self, checkpoint: bytes) -> None:
        """See `JobKeeper.keep`."""
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        self._line.write(Keep(self._number, checkpoint))
        refusal = await answer
        if refusal is not None:
            raise OvertakenError(refusal)

    def answer(self, kept: Kept) -> None:
        """The worker's answer to the oldest checkpoint."""
        answer = self._asked.popleft()
        if not answer.done():  # the caller was cancelled
            answer.set_result(kept.refusal)

    def show(self, done: float, total: float | None) -> None:
        """See `JobKeeper.show`."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._show_at:
            self._show_at = now_s + SHOW_EVERY_S
            self._line.write(Shown(self._number, done, total))


def raised(number: int, error: BaseException) -> Raised:
    """The frame that describes an exception."""
    kind = next((kind.__name__ for kind in type(error).__mro__ if vars(errors).get(kind.__name__) is kind), None)
    trace = storable_text("".join(traceback.format_exception(error))[:LONGEST_TRACE])
    return Raised(number, kind, type(error).__name__, text_of(error), retry_after_of(error), trace)
