"""Look-ups that people ask for before they decide about a task of unknown outcome; only a worker can ask a platform."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from everpost.clock import Clock
from everpost.errors import ServiceError
from everpost.files.lookup import FileLookup
from everpost.known_secrets import CURRENT, NO_SECRETS
from everpost.platforms import Catalogue
from everpost.publishing import (
    Media,
    NotFound,
    Publisher,
    PublisherClass,
    PublishError,
    PublishJob,
    PublishResult,
    idempotency_key,
)
from everpost.settings import Settings
from everpost.store import Store
from everpost.store.history import TaskDetail
from everpost.store.look_ups import LOOK_UPS, Finding, LookUp, answer_look_up, has_work, take_look_up
from everpost.task.model import TaskStatus
from everpost_workers.accounts.book import AccountBook, AccountWaitsError
from everpost_workers.accounts.job_account import JobAccount
from everpost_workers.attempts.unknown import look_up
from everpost_workers.cells.suspects import SuspectDiedError
from everpost_workers.engine import cancel_until_done

log = structlog.get_logger("everpost.worker")

LONGEST = 2_000  # characters of what is said


class CannotLookUpError(Exception):
    """The platform cannot be asked about this task; the message says why."""


class AskedLookUps:
    """Makes the look-ups that wait for a worker."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        catalogue: Catalogue,
        publishers: Mapping[str, Publisher],
        book: AccountBook,
        clock: Clock,
        worker_id: str,
    ) -> None:
        self._store = store
        self._files = FileLookup(store.files, settings)
        self._redactor = settings.redactor
        self._catalogue = catalogue
        self._publishers = publishers
        self._book = book
        self._clock = clock
        self._worker_id = worker_id
        self._running: set[asyncio.Task[None]] = set()

    def notice(self, values: Mapping[str, str]) -> None:
        """Begin the look-ups that wait, given the watched values of the store."""
        if not self._running and has_work(values.get(LOOK_UPS), self._clock()):
            running = asyncio.create_task(self._work())
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Give up the look-ups that are being made."""
        await cancel_until_done(*self._running)

    async def _work(self) -> None:
        try:
            while (asked := await take_look_up(self._store.meta, self._worker_id, self._clock())) is not None:
                answer = await self._answer(asked)
                await answer_look_up(self._store.meta, answer, self._clock())
                log.info("task.looked_up", task_id=asked.task_id, finding=answer.finding)
        except ServiceError as error:  # the person asks again
            log.warning("look_up.lost", error=error.message)

    async def _answer(self, asked: LookUp) -> LookUp:
        try:
            found = await self._look(asked.task_id)
        except CannotLookUpError as cannot:
            return msgspec.structs.replace(asked, finding=Finding.CANNOT, said=str(cannot)[:LONGEST])
        if isinstance(found, PublishResult):
            return msgspec.structs.replace(
                asked, finding=Finding.FOUND, provider_post_id=found.provider_post_id, publish_url=found.publish_url
            )
        if found is NotFound.NOT_FOUND:
            return msgspec.structs.replace(asked, finding=Finding.NOT_FOUND)
        said = self._redactor.hide_text(CURRENT.get().hide(str(found)))
        return msgspec.structs.replace(asked, finding=Finding.NO_VERDICT, said=said[:LONGEST])

    async def _look(self, task_id: str) -> PublishResult | NotFound | str:
        task = await self._store.history.find_task(task_id)
        if task is None or task.status != TaskStatus.UNKNOWN:
            raise CannotLookUpError("The outcome of the task is not unknown.")
        try:
            publisher, job = await self._prepare(task)
        except (ServiceError, PublishError) as error:
            raise CannotLookUpError(str(getattr(error, "message", error))) from error
        try:
            return await look_up(publisher, job)
        except SuspectDiedError as died:
            raise CannotLookUpError("The process that looked it up died.") from died

    async def _prepare(self, task: TaskDetail) -> tuple[Publisher, PublishJob]:
        """The publisher, and the job of the task's last attempt.

        Raises:
            CannotLookUpError: The publisher has no look-up, or the account waits.
            ServiceError, PublishError: The platform, account or store does not allow it.
        """
        data: dict[str, Any] = {
            name: msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
            for name, value in (task.task_data or {}).items()
        }
        platform = self._catalogue.find(data.get("platform", task.platform or ""))
        publisher = self._publishers[platform.name]
        is_keyed = publisher.publisher_class is PublisherClass.KEYED
        if publisher.publisher_class is not PublisherClass.CHECKABLE and not (is_keyed and publisher.can_look_up):
            raise CannotLookUpError(f"The publisher of {platform.name} cannot look posts up.")
        needed = platform.needs_account or publisher.needs_account
        try:
            account = await self._book.open(platform.name, data.get("account_id"), is_needed=needed)
        except AccountWaitsError as waits:
            raise CannotLookUpError(f"The account is {waits.account.status}.") from waits
        CURRENT.set(account.secrets if isinstance(account, JobAccount) else NO_SECRETS)
        job = PublishJob(
            task_id=task.task_id,
            data=data,
            platform=platform,
            attempt=max(1, len(task.attempts)),
            idempotency_key=idempotency_key(task.root_id or task.task_id, task.generation),
            files=await self._media(data),
            saved=task.checkpoint,
            account=account,
        )
        return publisher, job

    async def _media(self, data: Mapping[str, Any]) -> tuple[Media, ...]:
        """The files of the task; none if they are gone, because a look-up may do without."""
        if self._files.names_none(data):
            return ()
        try:
            return await self._files.find(data)
        except (ServiceError, PublishError):
            return ()
