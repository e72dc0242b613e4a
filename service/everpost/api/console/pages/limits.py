"""The limits of platforms and accounts, and what is paused: shown, set, paused and resumed."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec

from everpost.actions.limits import ShownLimits, ShownScope
from everpost.api.console.answers import SeeOther
from everpost.api.console.forms import read_fields, read_form
from everpost.api.console.frame import render
from everpost.api.http.audited import by_of, note_of
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.reach import need_reach
from everpost.api.http.rights import caller_of
from everpost.api.services import ApiRequest, Services, services_of
from everpost.errors import InvalidValue, ServiceError
from everpost.limits import EVERYTHING, NO_LIMITS, Limits, Scope, named_in
from everpost.printable import is_printable
from everpost.task.submission import invalid_value

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
ROWS = 3  # of rates in a form
LONGEST_WORDS = 2_000
LONGEST_ACCOUNT = 256

Fields = Sequence[tuple[str, str]]


async def show_limits(request: ApiRequest) -> JsonAnswer:
    """Answer with the page of all limits."""
    services = services_of(request)
    shown, caller = await services.limits.show(), caller_of(request)
    scopes = [one for one in shown.scopes if caller.may_reach(*named_in(one.scope))]
    platforms = [platform.name for platform in services.catalogue]
    parked = None if caller.is_limited else shown.parked
    return render(request, "limits.html", shown=ShownLimits(parked, scopes), platforms=platforms)


async def show_scope(request: ApiRequest) -> JsonAnswer:
    """Answer with the page of one scope."""
    return await _scope_page(request, request.query_params.get("scope", EVERYTHING))


async def choose_scope(request: ApiRequest) -> JsonAnswer:
    """Go to the scope that a form names by platform and account."""
    form = await read_form(request)
    services = services_of(request)
    platform, account_id = form.get("platform") or None, form.get("account_id", "").strip() or None
    scope = services.limits.scope_of(platform, _known_account(account_id), each_account="each" in form)
    return SeeOther(f"scope?scope={quote(scope, safe='')}")


async def set_limits(request: ApiRequest) -> JsonAnswer:
    """Set the limits of a scope, as a form has them, or go back to the catalogue's."""
    fields = await read_fields(request)
    form = dict(fields)
    try:
        scope = _known_scope(request, form.get("scope", ""))
        limits = None if "catalogue" in form else limits_of(fields)
        await services_of(request).limits.set_limits(scope, limits)
    except ServiceError as error:
        return await _scope_page(request, form.get("scope", EVERYTHING), error)
    note_of(request).about(scope, limits=msgspec.to_builtins(limits))
    return SeeOther(f"scope?scope={quote(scope, safe='')}&done=limits_set")


async def pause_scope(request: ApiRequest) -> JsonAnswer:
    """Pause a scope, with the reason of a form."""
    form = await read_form(request)
    try:
        scope = _known_scope(request, form.get("scope", ""))
        reason, said = reason_of(form), _said_by(form)
        await services_of(request).limits.pause(scope, reason, by_of(caller_of(request), said))
    except ServiceError as error:
        return await _scope_page(request, form.get("scope", EVERYTHING), error)
    note_of(request).about(scope, by=said, why=reason)
    return SeeOther(f"scope?scope={quote(scope, safe='')}&done=paused")


async def resume_scope(request: ApiRequest) -> JsonAnswer:
    """Resume a scope."""
    form = await read_form(request)
    scope = _known_scope(request, form.get("scope", ""))
    await services_of(request).limits.resume(scope)
    note_of(request).about(scope)
    return SeeOther(f"scope?scope={quote(scope, safe='')}&done=resumed")


def reason_of(form: Mapping[str, str]) -> str:
    """The reason that a form gives.

    Raises:
        InvalidValue: It is missing, too long, or has invisible characters.
    """
    reason = form.get("reason", "").strip()
    if not reason or len(reason) > LONGEST_WORDS:
        raise InvalidValue(f"Give a reason of at most {LONGEST_WORDS:,} characters.", "$.reason")
    if not is_printable(reason):
        raise InvalidValue("It contains characters that control a terminal or are invisible.", "$.reason")
    return reason


def _said_by(form: Mapping[str, str]) -> str | None:
    said = form.get("by", "").strip()
    if len(said) > LONGEST_WORDS or not is_printable(said):
        raise InvalidValue(f"It has at most {LONGEST_WORDS:,} characters that can be printed.", "$.by")
    return said or None


def limits_of(fields: Fields) -> Limits:
    """The limits in the fields of a form.

    Raises:
        InvalidValue: A value does not fit.
    """
    form = dict(fields)
    found: dict[str, Any] = {"rates": _rates(fields)}
    for name in ("concurrency", "gap_s", "daily"):
        if text := form.get(name, "").strip():
            found[name] = _number(text, name)
    try:
        return msgspec.convert(found, Limits)
    except msgspec.ValidationError as error:
        raise invalid_value(error) from error


def _rates(fields: Fields) -> list[dict[str, float]]:
    columns = [[value.strip() for name, value in fields if name == wanted] for wanted in ("count", "per", "unit")]
    return [
        {"count": _number(count, "rates"), "per_s": _number(per or "1", "rates") * UNITS.get(unit, 1)}
        for count, per, unit in zip(*columns, strict=False)
        if count
    ]


def _number(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise InvalidValue(f"{text[:32]!r} is not a number.", f"$.{name}") from None
    return int(number) if number.is_integer() else number


def _known_scope(request: ApiRequest, named: str) -> Scope:
    """The scope that a form names.

    Raises:
        UnknownPlatform: The catalogue does not have its platform.
        OutOfScope: The caller does not reach it.
    """
    scope = _read_scope(services_of(request), named)
    need_reach(caller_of(request), *named_in(scope), path="$.scope")
    return scope


def _read_scope(services: Services, scope: str) -> Scope:
    if scope in {"", EVERYTHING}:
        return EVERYTHING
    if scope.startswith("/"):
        return services.limits.scope_of(scope[1:], None, each_account=True)
    platform, slash, account_id = scope.partition("/")
    return services.limits.scope_of(platform, _known_account(account_id if slash else None))


def _known_account(account_id: str | None) -> str | None:
    """An account as the API takes it.

    Raises:
        InvalidValue: No task can have it.
    """
    if account_id is not None and (not 0 < len(account_id) <= LONGEST_ACCOUNT or "\0" in account_id):
        raise InvalidValue(f"An account has 1 to {LONGEST_ACCOUNT} characters, without NUL.", "$.account_id")
    return account_id


async def _scope_page(request: ApiRequest, named: str, error: ServiceError | None = None) -> JsonAnswer:
    services = services_of(request)
    scope = _known_scope(request, named)
    shown = await services.limits.show()
    found = next((one for one in shown.scopes if one.scope == scope), None)
    status = HTTPStatus.OK if error is None else HTTPStatus.UNPROCESSABLE_ENTITY
    return render(
        request,
        "scope.html",
        status=status,
        scope=found or ShownScope(scope=scope, limits=NO_LIMITS, is_set=False, hold=None, use=None),
        rates=_rate_rows(found.limits if found else NO_LIMITS),
        error=error,
        units=UNITS,
    )


def _rate_rows(limits: Limits) -> list[tuple[str, str, str]]:
    """The rates as a form has them: count, how many units, and the unit; with empty rows to fill."""
    rows = [(str(rate.count), *_in_units(rate.per_s)) for rate in limits.rates]
    return rows + [("", "1", "h")] * max(1, ROWS - len(rows))


def _in_units(seconds: float) -> tuple[str, str]:
    unit = next((name for name, length in reversed(UNITS.items()) if not seconds % length), "s")
    return f"{seconds / UNITS[unit]:g}", unit
