"""I1, I4, I5 and I6 over random sequences of client requests and faults, on a whole running stack."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chaos_kit.dials import SECONDS
from everpost.publishing import PermanentError
from everpost.task.model import WITHDRAWN_S
from everpost.task.place import Place
from everpost.testing import PublisherDouble, Stack, eventually, everpost_stack
from everpost.testing.waiting import DEADLINE_S
from store_kit import kit_of
from stores import empty_store

EXAMPLES = 4
MORE_EXAMPLES = int(SECONDS)  # about a second each
STEPS = 12
pick = st.integers(0, 1_000)
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
extras = st.dictionaries(text, st.none() | st.booleans() | st.integers(-9, 9) | text)


class Conservation(RuleBasedStateMachine):
    """Clients submit, repeat, retry and cancel; workers are killed, Valkey is flushed and frozen; all is healed."""

    store = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.cleanup = AsyncExitStack()
        self.is_frozen = False
        self.is_held = False
        self.bodies: dict[str, dict[str, Any]] = {}  # by task id, of everything acknowledged
        self.keys: list[tuple[str, str]] = []  # an Idempotency-Key and the task it made
        self.stack: Stack

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def open(self) -> None:
        publisher = PublisherDouble()
        publisher.fail_when(lambda job: PermanentError("no") if job.data.get("fails") else None)
        folder = Path(self.cleanup.enter_context(TemporaryDirectory()))
        database = self.cleanup.enter_context(empty_store(self.store, folder))
        stack = everpost_stack(workers=1, publisher=publisher, database=database, lease=1.0, shutdown_wait=0.1)
        self.stack = self.run(self.cleanup.enter_async_context(stack))
        self.kit = kit_of(database)

    def teardown(self) -> None:
        try:
            self.heal()
            self.drain()
            self.all_that_is_called_a_success_was_sent()
        finally:
            self.run(self.cleanup.aclose())
            self.loop.close()

    def some_id(self, number: int) -> str:
        return list(self.bodies)[number % len(self.bodies)]

    async def post(self, body: dict[str, Any], key: str) -> str:
        answer = await eventually(lambda: self.ask(body, key), what="the answer to another of those who ask together")
        assert answer is not None
        assert answer.status_code == HTTPStatus.ACCEPTED, answer.text
        return str(answer.json()["task_id"])

    async def ask(self, body: dict[str, Any], key: str) -> httpx.Response | None:
        """The answer, or None while another request with the key is being served."""
        answer = await self.stack.client.post("/api/v1/publish", json=body, headers={"idempotency-key": key})
        if answer.status_code != HTTPStatus.CONFLICT:
            return answer
        assert answer.json()["code"] == "idempotency_key_in_use"
        return None

    async def together(self, *work: Any) -> list[Any]:
        return await asyncio.gather(*work)

    @rule(extra=extras, fails=st.booleans())
    def submit(self, extra: dict[str, Any], fails: bool) -> None:
        key = f"key-{len(self.keys)}"
        body = {"platform": 1, "account_id": "a", "extra": extra, "fails": fails}
        task_id = self.run(self.post(body, key))
        assert task_id not in self.bodies
        self.bodies[task_id] = body
        self.keys.append((key, task_id))

    @precondition(lambda self: self.keys)
    @rule(number=pick, callers=st.integers(1, 4))
    def submit_again(self, number: int, callers: int) -> None:
        key, task_id = self.keys[number % len(self.keys)]
        body = self.bodies[task_id]
        assert set(self.run(self.together(*(self.post(body, key) for _ in range(callers))))) == {task_id}

    @precondition(lambda self: self.bodies)
    @rule(number=pick, callers=st.integers(1, 4))
    def retry(self, number: int, callers: int) -> None:
        task_id = self.some_id(number)
        self.stack.publisher.hold()  # once the new task has ended, the next caller makes another one
        answers = self.run(self.together(*(self.stack.post_retry(task_id) for _ in range(callers))))
        if not self.is_held:
            self.stack.publisher.release()
        made = {self.id_of(answer) for answer in answers if answer.is_success}
        assert len(made) <= 1
        for new_id in made:
            self.bodies.setdefault(new_id, self.bodies[task_id])

    def id_of(self, answer: httpx.Response) -> str:
        return str(answer.json()["new_task_id"])

    @precondition(lambda self: self.bodies)
    @rule(number=pick)
    def cancel(self, number: int) -> None:
        answer = self.run(self.stack.client.post(f"/api/v1/tasks/cancel/{self.some_id(number)}"))
        assert answer.status_code in {HTTPStatus.OK, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE}, answer.text

    @rule()
    def hold_the_platform(self) -> None:
        self.is_held = True
        self.stack.publisher.hold()

    @rule()
    def release_the_platform(self) -> None:
        self.is_held = False
        self.stack.publisher.release()

    @precondition(lambda self: not self.is_frozen and self.stack._workers)
    @rule()
    def kill_worker(self) -> None:
        """What it was sending is cut off where it stands."""
        self.run(self.stack.stop_workers())

    @precondition(lambda self: not self.is_frozen)
    @rule()
    def flush(self) -> None:
        self.run(self.stack.queue.redis.flushall())

    @precondition(lambda self: not self.is_frozen)
    @rule()
    def freeze(self) -> None:
        self.signal_valkey(signal.SIGSTOP)
        self.is_frozen = True

    @rule()
    def heal(self) -> None:
        if self.is_frozen:
            self.signal_valkey(signal.SIGCONT)
            self.is_frozen = False
        self.release_the_platform()
        if not self.stack._workers:
            self.run(self.stack.start_worker())

    @rule()
    def drain(self) -> None:
        """Wait until all tasks have ended.

        A frozen Valkey carries out a withdrawal once it thaws, although the cancellation was refused. The relay returns
        such a task after `WITHDRAWN_S`.
        """
        self.heal()
        self.run(self.stack.drain(timeout_s=WITHDRAWN_S + DEADLINE_S))
        assert set(self.rows()) == set(self.bodies)

    def signal_valkey(self, number: signal.Signals) -> None:
        assert self.stack.valkey.child is not None
        os.kill(self.stack.valkey.child.pid, number)

    def rows(self) -> dict[str, Any]:
        tasks = self.kit.tasks()
        found = {task.task_id: task.data for task in tasks}
        assert len(found) == len(tasks), "a task stands in two places"
        return found

    @invariant()
    def every_acknowledged_task_is_in_one_table_as_it_was_sent(self) -> None:
        assert self.rows() == self.bodies

    @invariant()
    def no_retry_chain_has_two_unfinished_tasks(self) -> None:
        assert self.kit.find_chains_twice_alive() == []

    @invariant()
    def nothing_is_sent_twice(self) -> None:
        sent = [job.task_id for job in self.stack.publisher.published]
        assert len(sent) == len(set(sent))

    def all_that_is_called_a_success_was_sent(self) -> None:
        sent = {job.task_id for job in self.stack.publisher.published}
        for task in self.kit.tasks():
            if task.place is Place.HISTORY:
                assert task.status != "success" or task.task_id in sent
                assert task.status not in {"failed", "cancelled"} or task.task_id not in sent, task


CHOSEN = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each example takes a second: none is made smaller
    suppress_health_check=list(HealthCheck),
)
MORE = settings(CHOSEN, derandomize=False, max_examples=MORE_EXAMPLES)


class ConservationOnPostgresql(Conservation):
    """The same on the other store."""

    store = "postgresql"


TestConservationOfTheStack = Conservation.TestCase
TestConservationOfTheStack.settings = CHOSEN
TestConservationOnPostgresql = pytest.mark.chaos(ConservationOnPostgresql.TestCase)
TestConservationOnPostgresql.settings = CHOSEN


@pytest.mark.chaos
class TestConservationOfTheStackForLong(Conservation.TestCase):  # type: ignore[valid-type,misc]  # made by hypothesis
    """The same, as long as `make chaos` likes."""

    settings = MORE


@pytest.mark.chaos
class TestConservationOnPostgresqlForLong(ConservationOnPostgresql.TestCase):  # type: ignore[valid-type,misc]  # made by hypothesis
    """The same on the other store, as long as `make chaos` likes."""

    settings = MORE
