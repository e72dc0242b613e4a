"""What one program says, and what that means for the task."""

import signal
from collections.abc import Mapping
from typing import assert_never

from everpost.publishing import (
    AccountBlockedError,
    AuthError,
    InvalidError,
    NeedsPersonError,
    NotFound,
    OutcomeUnknownError,
    PermanentError,
    PublishError,
    PublishJob,
    PublishResult,
    RateLimitedError,
    TransientError,
)
from everpost_workers.publishers.command.messages import (
    Checkpoint,
    Failure,
    Message,
    Missing,
    Phase,
    Progress,
    Result,
    Said,
    read_message,
    write_line,
)
from everpost_workers.publishers.command.options import ErrorName
from everpost_workers.publishers.command.program import Acknowledgements, Ended

LONGEST_WORDS = 500  # characters of its last line

ERROR_OF_NAME: Mapping[ErrorName, type[PublishError]] = {
    "transient": TransientError,
    "rate_limited": RateLimitedError,
    "auth": AuthError,
    "needs_person": NeedsPersonError,
    "account_blocked": AccountBlockedError,
    "invalid": InvalidError,
    "permanent": PermanentError,
    "unknown": OutcomeUnknownError,
}


class Dialogue:
    """Takes the lines of one program, and tells the outcome at its end."""

    def __init__(self, job: PublishJob) -> None:
        self._job = job
        self._end: Result | Failure | Missing | None = None
        self._phase: Phase | None = None
        self._unread = 0
        self._last_line = b""

    async def hear(self, line: bytes, acknowledgements: Acknowledgements) -> None:
        """Take one line; a line that is no message is a program's chatter, and the last one is kept as its words."""
        message = read_message(line)
        if message is None:
            self._unread += bool(line.strip())
            self._last_line = line
            return
        await self._take(message, acknowledgements)

    async def _take(self, message: Message, acknowledgements: Acknowledgements) -> None:
        match message:
            case Progress():
                self._job.progress(message.done, message.total)
            case Checkpoint():
                await self._job.checkpoint(message.data)
                acknowledgements.send(write_line({"type": "saved"}))
            case Said():
                self._note(message)
            case Result():
                self._end = message
            case Failure() | Missing():
                self._end = self._end if isinstance(self._end, Result) else message  # a post stays a post
            case _:
                assert_never(message)

    def _note(self, said: Said) -> None:
        trace = self._job.trace
        self._phase = said.phase or self._phase
        match said.phase:
            case Phase.NOTHING_SENT:
                trace.nothing_sent()
                trace.say(said.words)
            case Phase.SENDING:
                trace.sending(said.words)
            case Phase.ANSWERED:
                trace.answered(said.words)
            case None:
                trace.say(said.words)

    def post(self, ended: Ended, meanings: Mapping[int, ErrorName]) -> PublishResult:
        """The post that `publish` made.

        Raises:
            PublishError: Why there is none, or why nothing is known of it.
        """
        match self._end:
            case Result():
                return self._as_post(self._end, ended)
            case Failure():
                raise _as_error(self._end)
        how = self._describe(ended)
        if ended.code is not None and ended.code in meanings:
            raise ERROR_OF_NAME[meanings[ended.code]](how)
        # It may have said that nothing was sent so far.
        error = TransientError if self._phase is Phase.NOTHING_SENT else OutcomeUnknownError
        raise error(f"{how} (it reported no result)" if ended.code == 0 else how)

    def found(self, ended: Ended) -> PublishResult | NotFound:
        """The answer of a look-up."""
        match self._end:
            case Result():
                return self._as_post(self._end, ended)
            case Missing() if ended.code == 0:
                return NotFound.NOT_FOUND
        return NotFound.NO_VERDICT

    def said(self, ended: Ended, meanings: Mapping[int, ErrorName]) -> str:
        """What a check of an account says, if the account is well.

        Raises:
            PublishError: Why it is not.
        """
        match self._end:
            case Result():
                return str(self._end.detail.get("said", "The program accepts it."))[:LONGEST_WORDS]
            case Failure():
                raise _as_error(self._end)
        how = self._describe(ended)
        raise ERROR_OF_NAME[meanings.get(ended.code or 0, "transient")](how)

    def _as_post(self, result: Result, ended: Ended) -> PublishResult:
        post_id = result.provider_post_id
        detail = dict(result.detail)
        if ended.code != 0:
            detail["program"] = self._describe(ended)
        return PublishResult(
            provider_post_id=None if post_id is None else str(post_id),
            publish_url=result.publish_url,
            detail=detail,
        )

    def _describe(self, ended: Ended) -> str:
        if ended.cut_off is not None:
            how = f"was ended, because {ended.cut_off}"
        else:
            how = f"ended with {ended.code}" if ended.signal is None else f"was ended by {_name_of(ended.signal)}"
        unread = f"; {self._unread} lines of its output were no messages" if self._unread else ""
        words = self._last_words(ended)
        return f"The program {how}{unread}{': ' if words else ''}{words}"

    def _last_words(self, ended: Ended) -> str:
        """The last line of its standard error, or else of its output."""
        lines = ended.errors.splitlines() or [self._last_line]
        last = next((line for line in reversed(lines) if line.strip()), b"").decode("utf-8", "replace")
        return "".join(character if character.isprintable() else " " for character in last).strip()[:LONGEST_WORDS]


def _as_error(failure: Failure) -> PublishError:
    message = failure.message or f"The program reported {failure.error_class}."
    return ERROR_OF_NAME[failure.error_class](message, retry_after_s=failure.retry_after_s)


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
