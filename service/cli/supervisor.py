"""What `everpost up` does: start everything in order, keep it running, and stop it in order."""

import asyncio
import http.client
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from service.cli.probe import ask
from service.cli.programs import MISUSED, Program, described
from service.embedded import EmbeddedValkey

API_GRACE_S = 30.0  # a little more than the API gives its requests
WORKER_GRACE_S = 10.0  # beyond EVERPOST_SHUTDOWN_WAIT
READY_POLL_S = 0.05

Say = Callable[[str], None]


def told_of_moved_data(folder: Path) -> str:
    """What to say of data that the embedded server could not read."""
    return f"Valkey could not read its data, which is now in {folder}. No task is lost: the database has them all."


class Supervisor:
    """Keeps an API, its workers and maybe a Valkey running until it is asked to stop.

    Args:
        valkey: The embedded server, started already; None where Redis is somebody else's.
        api: Started first, stopped first, so that no request finds the rest gone.
        workers: Stopped after the API, each given `worker_grace_s` seconds to finish what it runs.
        say: Tells people what happened.
    """

    def __init__(
        self,
        *,
        valkey: EmbeddedValkey | None,
        api: Program,
        workers: Sequence[Program],
        worker_grace_s: float,
        say: Say,
    ) -> None:
        self._valkey = valkey
        self._api = api
        self._workers = workers
        self._worker_grace_s = worker_grace_s
        self._say = say
        self._changed = asyncio.Event()
        self._stops_asked = 0
        self._exit_code = 0
        self._was_ready = False

    @property
    def _programs(self) -> tuple[Program, ...]:
        return (self._api, *self._workers)

    async def run(self, host: str, port: int, on_ready: Callable[[], None]) -> int:
        """Serve until SIGINT, SIGTERM or SIGHUP; the exit code. `on_ready`: the API answers at `host`:`port`."""
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
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup a closed terminal is no reason to stop
            numbers.append(signal.SIGHUP)
        for number in numbers:  # SIGINT also where a shell that began it in the background had it ignored
            loop.add_signal_handler(number, self._ask_to_stop)

    def _ask_to_stop(self) -> None:
        self._stops_asked += 1
        self._changed.set()
        if self._stops_asked == 1:
            self._say("Stopping: requests and running tasks may finish; Ctrl-C again cuts them off.")
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
            self._say(f"The {program.name} {described(code)}; starting it again in {delay_s:g} s.")
        elif program.due_s is not None and time.monotonic() >= program.due_s:
            program.start()

    def _give_up(self, program: Program, code: int) -> None:
        """Its start fails, for a reason it has told: starting it again and again would only hide that."""
        self._say(f"The {program.name} cannot start (it {described(code)}); stopping.")
        self._exit_code = MISUSED if code == MISUSED else 1
        self._stops_asked = max(self._stops_asked, 1)

    async def _restart_valkey(self, valkey: EmbeddedValkey) -> None:
        code = valkey.child.exit_code if valkey.child else 0
        self._say(f"Valkey {described(code or 0)}; starting it again. No task is lost: the database has them all.")
        try:
            await valkey.start()
        except TimeoutError as error:
            self._say(f"Valkey does not come up: {error}")
            self._exit_code = 1
            self._stops_asked = max(self._stops_asked, 1)
        if valkey.moved_to is not None:
            self._say(told_of_moved_data(valkey.moved_to))

    def _next_due_s(self) -> float | None:
        dues = [program.due_s for program in self._programs if program.due_s is not None]
        return min(dues) if dues else None

    async def _wait_for_change(self, until_s: float | None) -> None:
        """Until a child has ended or a signal has come, or the monotonic clock says `until_s`."""
        timeout_s = None if until_s is None else max(0.0, until_s - time.monotonic())
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except TimeoutError:
            return

    async def _stop_all(self) -> None:
        await self._stop([self._api], API_GRACE_S)
        await self._stop(self._workers, self._worker_grace_s)
        if self._valkey is not None:
            await self._valkey.stop()

    async def _stop(self, programs: Sequence[Program], grace_s: float) -> None:
        for program in programs:
            program.terminate()
        deadline_s = time.monotonic() + grace_s
        while any(program.is_running for program in programs):
            self._changed.clear()
            if time.monotonic() >= deadline_s or self._stops_asked > 1:
                for program in programs:
                    program.kill()
                return
            if any(program.is_running for program in programs):
                await self._wait_for_change(deadline_s)
