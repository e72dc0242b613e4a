"""Look-ups of posts that people ask for: a worker asks the platform whether a task of unknown outcome was published.

They are one value of `Meta`, which all workers watch anyway. Each look-up is made by one worker, and kept for a while.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum

import msgspec

from everpost.store.meta import Meta

LOOK_UPS = "look_ups"  # in `Meta`: the look-ups by task, as JSON
KEPT_MS = 600_000
OPEN_MS = 60_000  # after this time without an answer, its worker has died, and another look-up can be asked for
MOST = 50
TRIES = 20


class Finding(StrEnum):
    """What a look-up found."""

    FOUND = "found"
    NOT_FOUND = "not_found"
    NO_VERDICT = "no_verdict"  # the platform did not say
    CANNOT = "cannot"  # the publisher cannot ask, or the account does not allow it


class LookUp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A look-up.

    Attributes:
        asked_ms: When it was asked for, in UTC milliseconds.
        worker: The worker that makes it; None if none has begun.
        finding: None until it has ended.
        said: More about the finding, in words.
        provider_post_id, publish_url: Those of the post that was found.
    """

    task_id: str
    asked_ms: int
    worker: str | None = None
    finding: Finding | None = None
    said: str | None = None
    provider_post_id: str | None = None
    publish_url: str | None = None

    def is_open(self, now_ms: int) -> bool:
        """Whether an answer may still come."""
        return self.finding is None and abs(now_ms - self.asked_ms) < OPEN_MS


def read_look_ups(text: str | None) -> dict[str, LookUp]:
    """The look-ups in the value, by task."""
    return {} if not text else msgspec.json.decode(text, type=dict[str, LookUp])


async def find_look_up(meta: Meta, task_id: str) -> LookUp | None:
    """The last look-up of a task; None if it was not asked for lately."""
    return read_look_ups(await meta.get(LOOK_UPS)).get(task_id)


async def ask_look_up(meta: Meta, task_id: str, now_ms: int) -> LookUp:
    """Ask for a look-up, unless one is open.

    Raises:
        Unavailable: The store cannot be written.
    """

    def asked(known: Mapping[str, LookUp]) -> LookUp | None:
        before = known.get(task_id)
        return None if before is not None and before.is_open(now_ms) else LookUp(task_id=task_id, asked_ms=now_ms)

    made = await _change(meta, now_ms, asked)
    return made or await find_look_up(meta, task_id) or LookUp(task_id=task_id, asked_ms=now_ms)


async def take_look_up(meta: Meta, worker: str, now_ms: int) -> LookUp | None:
    """Take an open look-up that no worker has; None if workers have them all."""

    def taken(known: Mapping[str, LookUp]) -> LookUp | None:
        free = (one for one in known.values() if one.worker is None and one.is_open(now_ms))
        return next((msgspec.structs.replace(one, worker=worker) for one in free), None)

    return await _change(meta, now_ms, taken)


async def answer_look_up(meta: Meta, answer: LookUp, now_ms: int) -> None:
    """Keep what a look-up found, unless it was asked for anew."""

    def answered(known: Mapping[str, LookUp]) -> LookUp | None:
        before = known.get(answer.task_id)
        return answer if before is not None and before.asked_ms == answer.asked_ms else None

    await _change(meta, now_ms, answered)


def has_work(text: str | None, now_ms: int) -> bool:
    """Whether a look-up in the value waits for a worker."""
    return bool(text) and any(one.worker is None and one.is_open(now_ms) for one in read_look_ups(text).values())


async def _change(meta: Meta, now_ms: int, rule: Callable[[Mapping[str, LookUp]], LookUp | None]) -> LookUp | None:
    """Keep and return what a rule makes of the known look-ups; None if the rule returns None, or they keep changing."""
    for _ in range(TRIES):
        text = await meta.get(LOOK_UPS)
        known = read_look_ups(text)
        made = rule(known)
        if made is None:
            return None
        kept = {name: one for name, one in known.items() if abs(now_ms - one.asked_ms) < KEPT_MS}
        kept.pop(made.task_id, None)
        newest = [*kept.values(), made][-MOST:]
        if await meta.replace(LOOK_UPS, text, msgspec.json.encode({one.task_id: one for one in newest}).decode()):
            return made
    return None
