"""Saves the checkpoints of running attempts, and shows their progress."""

import asyncio

import msgspec
import structlog

from everpost.clock import Clock
from everpost.failpoints import failpoint
from everpost.known_secrets import NO_SECRETS
from everpost.publishing import JobKeeper, OvertakenError
from everpost.store.ledger import Ledger
from everpost_workers.attempts.attempt import AttemptState
from everpost_workers.attempts.intents import persist
from everpost_workers.attempts.progress import ProgressBoard

log = structlog.get_logger("everpost.worker")


class AttemptKeeper(JobKeeper):
    """Keeps what one attempt gives.

    While the database is unavailable, a checkpoint waits for it. Checkpoints of one attempt are saved in the order in
    which they were given.
    """

    def __init__(self, ledger: Ledger, board: ProgressBoard, clock: Clock, state: AttemptState) -> None:
        self._ledger = ledger
        self._board = board
        self._clock = clock
        self._state = state
        self._turn = asyncio.Lock()

    async def keep(self, checkpoint: bytes) -> None:
        """See `JobKeeper.keep`."""
        task_id, attempt, text = self._state.task_id, self._state.number, self._without_secrets(checkpoint).decode()
        async with self._turn:
            failpoint("checkpoint.before")
            now_ms = self._clock()
            was_saved = await persist(lambda: self._ledger.save_checkpoint(task_id, attempt, text, now_ms))
            failpoint("checkpoint.after")
        if not was_saved:
            log.warning("checkpoint.refused", task_id=task_id, attempt=attempt)
            raise OvertakenError("Another attempt has the task, or it has ended, so this one stopped.")

    def _without_secrets(self, checkpoint: bytes) -> bytes:
        """The checkpoint to keep: clients can see it."""
        secrets = self._state.secrets
        if secrets is NO_SECRETS:
            return checkpoint
        hidden = msgspec.json.encode(secrets.hide_in(msgspec.json.decode(checkpoint)))
        if hidden != checkpoint:
            log.warning("checkpoint.secret_removed", task_id=self._state.task_id, attempt=self._state.number)
        return hidden

    def show(self, done: float, total: float | None) -> None:
        """See `JobKeeper.show`."""
        if not self._state.has_ended:
            self._board.show(self._state.task_id, done, total)


def saved_checkpoint(state: AttemptState) -> object:
    """The last checkpoint of a claimed task; None if it has none."""
    if state.facts is None or state.facts.checkpoint is None:
        return None
    try:
        return msgspec.json.decode(state.facts.checkpoint)
    except (msgspec.DecodeError, UnicodeError, RecursionError):  # another program wrote it
        log.error("checkpoint.unreadable", task_id=state.task_id)  # noqa: TRY400 - a traceback would not help
        return None
