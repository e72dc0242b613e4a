"""Runs one task for each step of a trial: the fault strikes, another worker goes on, the platform is asked."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import msgspec

from everpost.errors import ServiceError
from everpost.failpoints import Action
from everpost.store.meta import CHECKED_AT
from everpost.testing import Stack
from everpost.testing.trial.proxy import Side, Trap, TrialProxy
from everpost.testing.trial.steps import Course, Fault, Step
from everpost.testing.trial.verdicts import Finding
from everpost.testing.trial.workers import PLATFORM, Crew, TrialWorker

Posts = Callable[[], Awaitable[Collection[str]]]
Fields = Callable[[str], Mapping[str, Any]]

ENDS_S = 60.0  # within which a task ends after a fault
SETTLE_S = 0.5  # after the last step, for posts that appear late
LOOK_S = 0.005
WRITES_S = 1.0  # within which the store takes a write, if no frozen process has locked it

BEFORE_SEND, AFTER_SEND = "send.before", "send.after"
BEFORE_SAVE, AFTER_SAVE = "checkpoint.before", "checkpoint.after"

POINTS = {Fault.KILL_BEFORE_SEND: BEFORE_SEND, Fault.KILL_BEFORE_RECORD: AFTER_SEND}
SAVES = {
    Fault.KILL_BEFORE_CHECKPOINT: BEFORE_SAVE,
    Fault.KILL_AFTER_CHECKPOINT: AFTER_SAVE,
    Fault.FREEZE_AT_CHECKPOINT: BEFORE_SAVE,
}
SIDES = {
    Fault.KILL_BEFORE_REQUEST: Side.REQUEST,
    Fault.KILL_AFTER_REQUEST: Side.ANSWER,
    Fault.STOP_AFTER_REQUEST: Side.ANSWER,
    Fault.CUT_CONNECTION: Side.CONNECTION,
    Fault.CUT_REQUEST: Side.REQUEST,
    Fault.CUT_ANSWER: Side.ANSWER,
    Fault.LATE_ANSWER: Side.ANSWER,
}


class Runs:
    """The runs of one trial.

    Attributes:
        course: What an attempt of a new worker does without a fault; known after `observe`.
    """

    def __init__(
        self, stack: Stack, crew: Crew, proxy: TrialProxy, posts: Posts, fields: Fields | Mapping[str, Any]
    ) -> None:
        self._stack = stack
        self._crew = crew
        self._proxy = proxy
        self._posts = posts
        self._fields = fields
        self._titles: list[str] = []
        self._takes_s = 0.0
        self._needs_new_workers = False
        self.course = Course()

    async def observe(self, *, is_timed: bool) -> Finding:
        """Publish without a fault, first with a new worker, then with one that has published before."""
        worker = await self._crew.ready()
        watching = asyncio.create_task(self._watch(worker, is_timed=is_timed))
        finding = await self._publish(Step(Fault.NONE), worker, self._nothing)
        watching.cancel()
        await asyncio.wait((watching,))
        self.course = msgspec.structs.replace(self.course, **self._counted())
        if finding.status == "success":
            await self._publish(Step(Fault.NONE), worker, self._nothing)
            self._needs_new_workers = len(self._proxy.answers) != len(self.course.answers)
            self._titles.pop()
        return finding

    async def run(self, step: Step) -> Finding:
        """Publish with a fault."""
        is_new = self._needs_new_workers or step.fault is Fault.CUT_CONNECTION
        worker = await self._crew.ready(is_new=is_new)
        if step.fault in SIDES:
            return await self._run_trap(step, worker)
        if step.fault in SAVES:
            return await self._publish(step, worker, lambda task_id: self._strike_save(task_id, step, worker))
        if step.fault is Fault.KILL_AMID:
            return await self._publish(step, worker, lambda task_id: self._kill_amid(task_id, step, worker))
        worker.arm(POINTS[step.fault], Action.KILL)
        return await self._publish(step, worker, lambda task_id: self._until(task_id, lambda: not worker.is_running))

    async def recount(self, findings: Sequence[Finding]) -> list[Finding]:
        """The findings with the posts that the platform has after a while."""
        await asyncio.sleep(SETTLE_S)
        texts = await self._posts()
        return [
            msgspec.structs.replace(finding, posts=_count(title, texts))
            for finding, title in zip(findings, self._titles, strict=True)
        ]

    async def _publish(
        self, step: Step, worker: TrialWorker, strike: Callable[[str], Awaitable[bool]], trap: Trap | None = None
    ) -> Finding:
        """Publish a task, let the fault strike, and wait for the task's end, which another worker may bring about."""
        title = f"trial {uuid4().hex}"
        self._titles.append(title)
        self._proxy.begin(trap)
        more = self._fields(title) if callable(self._fields) else self._fields
        task_id = await self._stack.publish(**{"platform": PLATFORM, "title": title, **more})
        was_reached = await strike(task_id)
        if not worker.is_running:
            await self._crew.ready()
        has_ended = await self._ended(task_id)
        task = await self._stack.task(task_id)
        status, error = task["status"] if has_ended else None, _error_of(task)
        posts = _count(title, await self._posts())
        return Finding(step=step, status=status, posts=posts, error=error, was_reached=was_reached)

    async def _nothing(self, task_id: str) -> bool:
        del task_id
        return True

    async def _run_trap(self, step: Step, worker: TrialWorker) -> Finding:
        is_over = asyncio.Event()

        async def act() -> None:
            if step.fault in {Fault.KILL_BEFORE_REQUEST, Fault.KILL_AFTER_REQUEST}:
                worker.kill()
            elif step.fault is Fault.STOP_AFTER_REQUEST:
                await worker.stop()
            elif step.fault is Fault.LATE_ANSWER:
                await is_over.wait()

        async def strike(task_id: str) -> bool:
            was_reached = await self._until(task_id, trap.sprung.is_set)
            if was_reached and step.fault is Fault.STOP_AFTER_REQUEST:
                await worker.stop()
            return was_reached

        kept_bytes = step.of if step.fault is Fault.CUT_ANSWER else 0
        trap = Trap(SIDES[step.fault], step.number, act, kept_bytes=kept_bytes)
        try:
            return await self._publish(step, worker, strike, trap)
        finally:
            is_over.set()

    async def _strike_save(self, task_id: str, step: Step, worker: TrialWorker) -> bool:
        point = SAVES[step.fault]
        if not await self._pause_at(task_id, worker, point, step.number):
            return False
        if step.fault is not Fault.FREEZE_AT_CHECKPOINT:
            worker.kill()
            return True
        await self._freeze(worker)
        await self._crew.ready(is_new=True, keep=worker)
        await self._ended(task_id)
        worker.go_on(point)
        worker.signal(signal.SIGCONT)
        await worker.stop()
        return True

    async def _pause_at(self, task_id: str, worker: TrialWorker, point: str, number: int) -> bool:
        """Let the worker come to a point for the given time, and pause there; False if it does not."""
        for turn in range(number):
            worker.arm(point, Action.PAUSE)
            if turn:
                worker.go_on(point)
            if not await self._until(task_id, lambda: worker.is_at(point)):
                worker.disarm(point)
                return False
        return True

    async def _freeze(self, worker: TrialWorker) -> None:
        """Freeze it at a moment when it has not locked the database."""
        while True:
            worker.signal(signal.SIGSTOP)
            with suppress(ServiceError, TimeoutError):
                async with asyncio.timeout(WRITES_S):
                    await self._stack.store.meta.set(CHECKED_AT, "0")
                return
            worker.signal(signal.SIGCONT)
            await asyncio.sleep(LOOK_S)

    async def _kill_amid(self, task_id: str, step: Step, worker: TrialWorker) -> bool:
        if not await self._pause_at(task_id, worker, BEFORE_SEND, 1):
            return False
        worker.go_on(BEFORE_SEND)
        await asyncio.sleep(self._takes_s * step.number / step.of)
        worker.kill()
        return True

    async def _watch(self, worker: TrialWorker, *, is_timed: bool) -> None:
        """Count the checkpoints of the running attempt, and measure the time of `publish`."""
        points = [BEFORE_SAVE, *([BEFORE_SEND, AFTER_SEND] if is_timed else [])]
        for point in points:
            worker.arm(point, Action.PAUSE)
        try:
            while True:
                for point in filter(worker.is_at, points):
                    if point == BEFORE_SAVE:
                        self.course = msgspec.structs.replace(self.course, checkpoints=self.course.checkpoints + 1)
                        worker.arm(point, Action.PAUSE)
                    else:
                        self._takes_s = time.monotonic() - self._takes_s
                    worker.go_on(point)
                await asyncio.sleep(LOOK_S)
        finally:
            worker.disarm(BEFORE_SAVE)

    def _counted(self) -> dict[str, Any]:
        return {"answers": tuple(self._proxy.answers), "connections": self._proxy.connections}

    async def _until(self, task_id: str, is_so: Callable[[], bool]) -> bool:
        """Wait until something is so; False if the task ends before."""
        until_s = time.monotonic() + ENDS_S
        while time.monotonic() < until_s:
            if is_so():
                return True
            if await self._is_ended(task_id):
                return is_so()
            await asyncio.sleep(LOOK_S)
        return False

    async def _is_ended(self, task_id: str) -> bool:
        claimed = await self._stack.store.ledger.check_claims({task_id: None})
        return task_id in claimed.ended

    async def _ended(self, task_id: str) -> bool:
        """Wait until the task has ended; False if it does not."""
        try:
            await self._stack.wait_until_ended(task_id, timeout_s=ENDS_S)
        except TimeoutError:
            return False
        return True


def _error_of(task: Mapping[str, Any]) -> str | None:
    """The task's error, and why it waits."""
    waits_for: Mapping[str, Any] = task.get("waits_for") or {}
    told = (task["error_message"], waits_for.get("reason") or waits_for.get("kind"))
    return "; it waits: ".join(dict.fromkeys(filter(None, told))) or None


def _count(title: str, texts: Collection[str]) -> int:
    return sum(title in text for text in texts)
