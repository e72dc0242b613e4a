"""The account of a call in a cell: the cell asks, and the worker reads, locks and stores for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec

from everpost.known_secrets import KnownSecrets
from everpost.publishing import Account, PublishError, Tokens, TransientError, errors
from everpost.publishing.account import HeldTokens
from everpost_workers.cells.frames import AccountVerb, Asked, SentAccount, Told
from everpost_workers.engine import cancel_until_done


def sent_account(account: Account) -> SentAccount:
    """The account as a cell gets it."""
    return SentAccount(account.id, msgspec.json.encode(dict(account.options)), account.is_registered)


class AccountDesk:
    """The worker's side: answers the questions of one call.

    Args:
        tell: Sends an answer to the cell.
    """

    def __init__(self, account: Account, tell: Callable[[Told], None]) -> None:
        self._account = account
        self._tell = tell
        self._running: set[asyncio.Task[None]] = set()
        self._lock: AbstractAsyncContextManager[Tokens] | None = None
        self._tokens: Tokens | None = None

    def take(self, asked: Asked) -> None:
        """Answer a question as soon as it can be answered."""
        running = asyncio.create_task(self._answer(asked))
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _answer(self, asked: Asked) -> None:
        told = Told(asked.number, asked.question)
        try:
            told = await self._do(asked, told)
        except Exception as error:  # noqa: BLE001 - the cell waits for an answer
            name = type(error).__name__ if isinstance(error, PublishError) else None
            told = msgspec.structs.replace(told, publish_error=name, refusal=str(error) or type(error).__name__)
        self._tell(told)

    async def _do(self, asked: Asked, told: Told) -> Told:
        match asked.verb:
            case AccountVerb.READ:
                return msgspec.structs.replace(told, values=await self._account.credentials())
            case AccountVerb.LOCK:
                lock = self._account.refreshing()
                self._tokens = await lock.__aenter__()
                self._lock = lock
                return msgspec.structs.replace(told, values=dict(self._tokens), are_fresh=self._tokens.are_fresh)
            case AccountVerb.STORE if self._tokens is not None:
                await self._tokens.store(asked.tokens)
                return told
        await self._unlock()
        return told

    async def _unlock(self) -> None:
        lock, self._lock, self._tokens = self._lock, None, None
        if lock is not None:
            await lock.__aexit__(None, None, None)

    async def close(self) -> None:
        """Give back what the call holds: it has ended, or its cell has died."""
        await cancel_until_done(*self._running)
        await self._unlock()


class AskedAccount(Account):
    """The cell's side: the account of one call.

    Args:
        ask: Sends a question to the worker.

    Attributes:
        secrets: Learns every value that the publisher gets.
    """

    def __init__(self, number: int, sent: SentAccount, ask: Callable[[Asked], None]) -> None:
        self.id = sent.id
        self.options = msgspec.json.decode(sent.options)
        self.is_registered = sent.is_registered
        self.secrets = KnownSecrets()
        self._number = number
        self._ask = ask
        self._questions = 0
        self._answers: dict[int, asyncio.Future[Told]] = {}

    async def credentials(self) -> dict[str, str]:
        """See `Account`."""
        return (await self.ask(AccountVerb.READ)).values

    @asynccontextmanager
    async def refreshing(self) -> AsyncIterator[Tokens]:
        """See `Account`."""
        told = await self.ask(AccountVerb.LOCK)
        try:
            yield AskedTokens(self, told)
        finally:
            await asyncio.shield(self.ask(AccountVerb.UNLOCK))

    async def ask(self, verb: AccountVerb, tokens: Mapping[str, str] | None = None) -> Told:
        """The worker's answer to a question.

        Raises:
            PublishError: It refuses.
        """
        self._questions += 1
        question = self._questions
        answer: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._answers[question] = answer
        self._ask(Asked(self._number, question, verb, dict(tokens or {})))
        try:
            told = await answer
        finally:
            del self._answers[question]
        if told.refusal is not None:
            kind: type[PublishError] = getattr(errors, told.publish_error or "", TransientError)
            raise kind(told.refusal)
        self.secrets.learn(told.values.values())
        return told

    def hear(self, told: Told) -> None:
        """Take the worker's answer."""
        answer = self._answers.get(told.question)
        if answer is not None and not answer.done():  # the caller was cancelled
            answer.set_result(told)


class AskedTokens(HeldTokens):
    """See `everpost.publishing.Tokens`."""

    def __init__(self, account: AskedAccount, told: Told) -> None:
        super().__init__(told.values, are_fresh=told.are_fresh)
        self._account = account

    async def _keep(self, tokens: Mapping[str, str]) -> None:
        self._account.secrets.learn(tokens.values())
        await self._account.ask(AccountVerb.STORE, tokens)
