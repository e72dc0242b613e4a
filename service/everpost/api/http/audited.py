"""Keeps an entry in the audit for each change that a request makes."""

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from functools import wraps
from http import HTTPStatus
from time import monotonic
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import structlog

from everpost.access import AuditRow, Caller, How
from everpost.access.audit import OK
from everpost.access.roles import ANONYMOUS
from everpost.api.http.bodies import Headers, headers_of
from everpost.api.http.problems import STATUS_OF_CODE
from everpost.api.http.rights import caller_of
from everpost.api.services import ApiRequest, services_of
from everpost.clock import to_text
from everpost.errors import ServiceError
from everpost.task.model import new_task_id
from everpost.task.resolution_rules import Grounds

log = structlog.get_logger("everpost.audit")

NOTE = "everpost_audit"  # in the state of a request's scope
COMMAND = b"everpost-command"  # begins the User-Agent of commands
BETWEEN_REFUSALS_S = 60.0  # of one caller and one action; so a client that keeps asking does not fill the disk
MOST_REFUSED = 1_000
LONGEST_WAY = 200

P = ParamSpec("P")
R = TypeVar("R")
Handler = Callable[Concatenate[ApiRequest, P], Coroutine[Any, Any, R]]


class AuditNote:
    """What a handler says about the change it makes; the rest of the entry is known of each request.

    Attributes:
        target, why, details: See `AuditRow`.
        is_needed: False if nothing is changed, such as in a dry run.
        error: What a page shows as the reason why nothing was done, or not all.
    """

    def __init__(self, request: ApiRequest) -> None:
        self._request = request
        self.target: str | None = None
        self.why: str | None = None
        self.details: dict[str, Any] = {}
        self.is_needed = True
        self.error: ServiceError | None = None

    def about(self, target: str | None, *, by: str | None = None, why: str | None = None, **details: Any) -> None:
        """Say what is changed, so that an entry is kept. Details that are None, False or empty are left out.

        Args:
            by: Who the client says it is; it is kept if the caller has another name.
        """
        self.target, self.why, self.is_needed = target, why, True
        said = {"said_by": by} if by and by != caller_of(self._request).name else {}
        self.details = {**self.details, **said, **{name: value for name, value in details.items() if value}}

    def row(self, outcome: str = OK) -> AuditRow:
        """The entry."""
        request, caller = self._request, caller_of(self._request)
        headers, now_ms = headers_of(request), services_of(request).clock()
        details = self.details
        if (way := headers.get(b"x-forwarded-for")) is not None:  # a client that connects directly can say it too
            details = {**details, "forwarded_for": way[:LONGEST_WAY].decode("latin-1")}
        return AuditRow(
            audit_id=new_task_id(now_ms),
            at=to_text(now_ms),
            who=caller.name,
            role=caller.role,
            key_id=caller.key_id,
            action=request.scope["route_handler"].fn.__name__,
            how=_how(headers, caller),
            address=address_of(request),
            target=self.target if outcome == OK else self.target or _named_in(request),
            why=self.why,
            details=details,
            outcome=outcome,
        )

    def grounds(self, by: str | None) -> Grounds:
        """The grounds of a change that keeps the entry in its own transaction."""
        self.is_needed = False
        return Grounds(by_of(caller_of(self._request), by), self.why, self.row())


def note_of(request: ApiRequest) -> AuditNote:
    """What the entry of this request will say."""
    state = request.scope["state"]
    note: AuditNote | None = state.get(NOTE)
    if note is None:
        note = state[NOTE] = AuditNote(request)
    return note


def audited(handler: Handler[P, R]) -> Handler[P, R]:
    """A handler whose change is kept in the audit, before it is answered.

    Refusals change nothing and are not kept, except refusals of callers that lack the right. If the change may have
    been made although the answer is an error, the entry has the error's code.
    """

    @wraps(handler)
    async def audited_handler(request: ApiRequest, *args: P.args, **kwargs: P.kwargs) -> R:
        note = note_of(request)
        try:
            answer = await handler(request, *args, **kwargs)
        except ServiceError as error:
            await _keep_failure(request, note, error)
            raise
        if note.error is not None:
            await _keep_failure(request, note, note.error)
        elif note.is_needed:
            await services_of(request).store.audit.add(note.row())
        return answer

    audited_handler.is_audited = True  # type: ignore[attr-defined]  # a test looks for it
    return cast("Handler[P, R]", audited_handler)


class Refusals:
    """Keeps entries of refused attempts: at most one a minute for each caller and action."""

    def __init__(self) -> None:
        self._next_s: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def keep(self, request: ApiRequest, code: str) -> None:
        """Keep a refusal of a request whose caller is known."""
        row = note_of(request).row(code)
        key, now_s = (row.who, row.action), monotonic()
        if self._next_s.get(key, 0.0) > now_s:
            return
        self._next_s[key] = now_s + BETWEEN_REFUSALS_S
        self._next_s.move_to_end(key)
        if len(self._next_s) > MOST_REFUSED:
            self._next_s.popitem(last=False)
        await _keep_if_possible(request, row)


def by_of(caller: Caller, said: str | None) -> str | None:
    """Who decides: the caller's own name, or what an unknown caller says."""
    return said if caller.name == ANONYMOUS else caller.name


def address_of(request: ApiRequest) -> str | None:
    """The address that a request came from; None if it is not known."""
    client = request.scope.get("client")
    return None if client is None else str(client[0])


def _named_in(request: ApiRequest) -> str | None:
    """What the path of a request names; it need not exist."""
    return "/".join(map(str, request.scope.get("path_params", {}).values()))[:LONGEST_WAY] or None


async def _keep_failure(request: ApiRequest, note: AuditNote, error: ServiceError) -> None:
    """Keep an entry of an error after which the change may have been made."""
    if STATUS_OF_CODE[error.code] >= HTTPStatus.INTERNAL_SERVER_ERROR:
        await _keep_if_possible(request, note.row(error.code))


async def _keep_if_possible(request: ApiRequest, row: AuditRow) -> None:
    try:
        await services_of(request).store.audit.add(row)
    except ServiceError as error:
        log.warning("audit.not_kept", action=row.action, who=row.who, outcome=row.outcome, error=error.message)


def _how(headers: Headers, caller: Caller) -> How:
    if caller.in_session:
        return How.CONSOLE
    agent = headers.get(b"user-agent", b"")
    return How.COMMAND if agent.startswith(COMMAND) else How.API
