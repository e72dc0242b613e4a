"""API keys: listed, made, replaced and revoked."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from everpost.access import KeyRecord, Role
from everpost.actions.keys import DEFAULT_OVERLAP_S, MadeKey, WantedKey
from everpost.api.console.answers import SeeOther
from everpost.api.console.forms import read_form
from everpost.api.console.frame import render
from everpost.api.http.audited import note_of
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import caller_of
from everpost.api.routes.keys import NewKey
from everpost.api.services import ApiRequest, services_of
from everpost.clock import to_text
from everpost.errors import InvalidValue, ServiceError
from everpost.task.submission import invalid_value

DAY_S = 86_400.0
EMPTY = dict.fromkeys(("name", "role", "platforms", "accounts", "days"), "")


async def show_keys(request: ApiRequest) -> JsonAnswer:
    """Answer with the page of all keys."""
    return await _keys_page(request)


async def create_key(request: ApiRequest) -> JsonAnswer:
    """Make the key of a form, and show it this once."""
    form = await read_form(request)
    try:
        made = await services_of(request).keys.create(_wanted(form), caller_of(request))
    except ServiceError as error:
        return await _keys_page(request, form=form, error=error)
    _note(request, made.record)
    return await _keys_page(request, made=made)


async def rotate_key(request: ApiRequest) -> JsonAnswer:
    """Make a key in place of another, which stays valid for a while, and show the new one this once."""
    await read_form(request)
    try:
        made = await services_of(request).keys.rotate(_named(request), DEFAULT_OVERLAP_S, caller_of(request))
    except ServiceError as error:
        return await _keys_page(request, error=error)
    _note(request, made.record, replaces=_named(request))
    return await _keys_page(request, made=made)


async def revoke_key(request: ApiRequest) -> JsonAnswer:
    """Refuse a key for ever."""
    await read_form(request)
    try:
        revoked = await services_of(request).keys.revoke(_named(request), caller_of(request))
    except ServiceError as error:
        return await _keys_page(request, error=error)
    _note(request, revoked)
    return SeeOther("../../keys?done=key_revoked")


def _note(request: ApiRequest, key: KeyRecord, **details: str) -> None:
    """Say in the audit which key is made or revoked."""
    scope = msgspec.to_builtins(key.scope)
    note_of(request).about(key.key_id, name=key.name, key_role=key.role, prefix=key.prefix, scope=scope, **details)


def _named(request: ApiRequest) -> str:
    named: str = request.path_params["key"]
    return named


def _wanted(form: Mapping[str, str]) -> WantedKey:
    """The key that a form asks for.

    Raises:
        InvalidValue: A value does not fit.
    """
    try:
        days = float(form.get("days") or 0)
    except ValueError:
        raise InvalidValue("Give a number of days, or leave it empty.", "$.days") from None
    given = {
        "name": form.get("name", "").strip(),
        "role": form.get("role", ""),
        "platforms": form.get("platforms", "").split(),
        "accounts": form.get("accounts", "").split(),
        "expires_in_s": days * DAY_S if days else None,
    }
    try:
        return WantedKey(**msgspec.structs.asdict(msgspec.convert(given, NewKey)))
    except msgspec.ValidationError as error:
        raise invalid_value(error) from error


async def _keys_page(
    request: ApiRequest,
    *,
    made: MadeKey | None = None,
    form: Mapping[str, str] = EMPTY,
    error: ServiceError | None = None,
) -> JsonAnswer:
    services = services_of(request)
    now = to_text(services.clock())
    return render(
        request,
        "keys_page.html",
        status=HTTPStatus.OK if error is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        keys=[(key, key.is_valid_at(now)) for key in await services.keys.all()],
        roles=list(Role),
        made=made,
        form=EMPTY | dict(form),
        error=error,
    )
