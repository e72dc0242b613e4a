"""The main loop of `everpost up`: start all processes in order, keep them running, and stop them in order."""

import asyncio
import http.client
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from everpost.cli.programs import MISUSED, Program, described
from everpost.cli.telling import Say
from everpost.embedded import EmbeddedValkey
from everpost.probe import ask
from everpost.stopping import stop_signals

API_FIRST_S = 2.0  # after this time the workers are stopped too, even if requests are still being answered
VALKEY_S = 2.0  # reserved for Valkey at the end of the budget
LONGEST_VALKEY_S = 10.0  # enough: Valkey writes its file each second anyway
READY_POLL_S = 0.05


def told_of_moved_data(folder: Path) -> str:
    """The message about data the embedded server could not read."""
    return f"Valkey could not read its data, which is now in {folder}. No task is lost: the database has them all."


class Supervisor:
    """Keeps an API, its workers and maybe a Valkey running until it is asked to stop.

    Args:
        valkey: The embedded server, already started; None if Redis runs elsewhere.
        api: Started first and stopped first, so that no request meets stopped workers.
        workers: Stopped after the API.
        budget_s: Seconds from the first signal to the end; processes that still run then are killed.
        say: Reports what happens.
    """

    def __init__(
        self, *, valkey: EmbeddedValkey | None, api: Program, workers: Sequence[Program], budget_s: float, say: Say
    ) -> None:
        self._valkey = valkey
        self._api = api
        self._workers = workers
        self._budget_s = budget_s
        self._say = say
        self._changed = asyncio.Event()
        self._stops_asked = 0
        self._exit_code = 0
        self._was_ready = False

    @property
    def _programs(self) -> tuple[Program, ...]:
        return (self._api, *self._workers)

    async def run(self, host: str, port: int, on_ready: Callable[[], None]) -> int:
        """Serve until SIGINT, SIGTERM or SIGHUP; return the exit code.

        `on_ready` is called once the API answers at `host`:`port`.
        """
        self._watch_signals()
        for program in self._programs:
            program.start()
        readiness = asyncio.create_task(self._announce(host, port, on_ready))
        try:
            await self._keep_running()
        finally:
            readiness.cancel()
            await self._stop_all()
        return self._exit_code

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._changed.set)
        for number in stop_signals():  # SIGINT too: a shell that starts a job in the background ignores it
            loop.add_signal_handler(number, self._ask_to_stop)

    def _ask_to_stop(self) -> None:
        self._stops_asked += 1
        self._changed.set()
        if self._stops_asked == 1:
            self._say("up.stopping", "Stopping: requests and running tasks may finish; Ctrl-C again cuts them off.")
        else:
            for program in self._programs:
                program.kill()
            if self._valkey is not None and self._valkey.child is not None:
                self._valkey.child.kill()

    async def _announce(self, host: str, port: int, on_ready: Callable[[], None]) -> None:
        while True:
            try:
                status, _ = await asyncio.to_thread(ask, host, port, "/health/live")
            except (OSError, http.client.HTTPException):
                status = 0
            if status == http.HTTPStatus.OK and self._api.is_running:
                self._was_ready = True
                on_ready()
                return
            await asyncio.sleep(READY_POLL_S)

    async def _keep_running(self) -> None:
        while not self._stops_asked:
            self._changed.clear()
            for program in self._programs:
                self._look_after(program)
            if self._valkey is not None and self._valkey.child is not None and self._valkey.child.exit_code is not None:
                await self._restart_valkey(self._valkey)
            if not self._stops_asked:
                await self._wait_for_change(self._next_due_s())

    def _look_after(self, program: Program) -> None:
        ended = program.note_end()
        if ended is not None:
            code, delay_s = ended
            if code == MISUSED or (program is self._api and not self._was_ready):
                self._give_up(program, code)
                return
            self._say(
                "up.program_ended",
                f"The {program.name} {described(code)}; starting it again in {delay_s:g} s.",
                program=program.name,
                exit_code=code,
                again_in_s=delay_s,
            )
        elif program.due_s is not None and time.monotonic() >= program.due_s:
            program.start()

    def _give_up(self, program: Program, code: int) -> None:
        """Stop restarting: the program cannot start, and has said why. More restarts would hide that message."""
        told = f"The {program.name} cannot start (it {described(code)}); stopping."
        self._say("up.program_cannot_start", told, program=program.name, exit_code=code)
        self._exit_code = MISUSED if code == MISUSED else 1
        self._stops_asked = max(self._stops_asked, 1)

    async def _restart_valkey(self, valkey: EmbeddedValkey) -> None:
        code = valkey.child.exit_code if valkey.child else 0
        told = f"Valkey {described(code or 0)}; starting it again. No task is lost: the database has them all."
        self._say("up.valkey_ended", told, exit_code=code)
        try:
            await valkey.start()
        except TimeoutError as error:
            self._say("up.valkey_cannot_start", f"Valkey does not start: {error}", error=str(error))
            self._exit_code = 1
            self._stops_asked = max(self._stops_asked, 1)
        if valkey.moved_to is not None:
            self._say("up.data_moved", told_of_moved_data(valkey.moved_to), moved_to=str(valkey.moved_to))

    def _next_due_s(self) -> float | None:
        dues = [program.due_s for program in self._programs if program.due_s is not None]
        return min(dues) if dues else None

    async def _wait_for_change(self, until_s: float | None) -> None:
        """Wait until a child has ended, a signal has come, or the monotonic clock reaches `until_s`."""
        timeout_s = None if until_s is None else max(0.0, until_s - time.monotonic())
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except TimeoutError:
            return

    async def _stop_all(self) -> None:
        ends_s = time.monotonic() + self._budget_s
        self._api.terminate()
        await self._wait_for_end([self._api], time.monotonic() + API_FIRST_S)
        for worker in self._workers:
            worker.terminate()
        await self._wait_for_end(self._programs, ends_s - VALKEY_S)
        for program in self._programs:
            if program.is_running:
                self._kill_late(program)
        if self._valkey is not None:
            await self._valkey.stop(min(LONGEST_VALKEY_S, max(VALKEY_S, ends_s - time.monotonic())))

    def _kill_late(self, program: Program) -> None:
        program.kill()
        if self._stops_asked > 1:
            return  # the person who asked again knows that processes are killed
        self._exit_code = 1
        within_s = self._budget_s - VALKEY_S
        told = f"The {program.name} did not stop within {within_s:g} s and was killed."
        self._say("up.program_killed", told, program=program.name, within_s=within_s)
        if program is not self._api:
            self._say(
                "up.tasks_cut_off",
                "Tasks it had begun run again at the next start if their publisher allows it; the others will be "
                "unknown, and wait for a decision: everpost list --status unknown.",
            )

    async def _wait_for_end(self, programs: Sequence[Program], until_s: float) -> None:
        """Wait until all of them have ended, the monotonic clock reaches `until_s`, or a second stop is requested."""
        while any(program.is_running for program in programs) and time.monotonic() < until_s and self._stops_asked < 2:  # noqa: PLR2004 - a second stop
            self._changed.clear()
            if any(program.is_running for program in programs):
                await self._wait_for_change(until_s)
