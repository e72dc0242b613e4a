"""The registered accounts: listed, shown, registered, changed, tested, paused, resumed and removed."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec

from everpost.actions.accounts import AccountFields
from everpost.api.console.answers import SeeOther
from everpost.api.console.forms import read_form
from everpost.api.console.frame import render
from everpost.api.console.pages.limits import reason_of
from everpost.api.http.audited import note_of
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import caller_of
from everpost.api.services import ApiRequest, services_of
from everpost.errors import InvalidValue, ServiceError
from everpost.limits import lane_of
from everpost.store.lists.cursor import Key, read_cursor, write_cursor
from everpost.task.account_rules import MOST_CREDENTIALS, AccountRecord, AccountStatus, CredentialName, Reference
from everpost.task.submission import decode_json, encode_json, invalid_value
from everpost.views.shown_accounts import ShownAccount, shown_account

SHOWN = 100
LONGEST_TITLE = 256
LONGEST_ID = 256
EMPTY = dict.fromkeys(("platform", "account_id", "title", "timezone", "credentials", "options"), "")

Credentials = dict[CredentialName, Reference]


async def show_accounts(request: ApiRequest) -> JsonAnswer:
    """Answer with a page of accounts, in the order of platform and id."""
    services = services_of(request)
    wanted = {name: request.query_params.get(name) or None for name in ("platform", "status", "cursor")}
    key = None if wanted["cursor"] is None else read_cursor(wanted["cursor"])
    after = None if key is None else (str(key.created_at), key.task_id)
    page = await services.accounts.page(after, SHOWN, wanted["platform"], _status(wanted["status"]))
    return render(
        request,
        "accounts.html",
        accounts=[shown_account(one) for one in page if caller_of(request).may_reach(*one.key)],
        wanted=wanted,
        statuses=list(AccountStatus),
        platforms=[platform.name for platform in services.catalogue],
        following=write_cursor(Key(*page[-1].key)) if len(page) == SHOWN else None,
    )


async def show_account(request: ApiRequest) -> JsonAnswer:
    """Answer with the page of an account."""
    return await _account_page(request)


async def show_new_account(request: ApiRequest) -> JsonAnswer:
    """Answer with the form for a new account."""
    return _new_page(request, {}, None)


async def add_account(request: ApiRequest) -> JsonAnswer:
    """Register the account of a form."""
    form = await read_form(request)
    try:
        fields, account_id = _fields_of(form), form.get("account_id", "")
        if len(account_id) > LONGEST_ID:
            raise InvalidValue(f"It has at most {LONGEST_ID} characters.", "$.account_id")
        added = await services_of(request).accounts.add(form.get("platform", ""), account_id, fields)
    except ServiceError as error:
        return _new_page(request, form, error)
    _note(request, added, members=sorted(fields.given))
    return SeeOther(f"{added.platform}/{quote(added.account_id, safe='')}?done=account_added")


async def change_account(request: ApiRequest) -> JsonAnswer:
    """Replace the fields of an account by those of a form."""
    form = await read_form(request)
    try:
        fields = _fields_of(form)
        changed = await services_of(request).accounts.change(*_named(request), fields)
    except ServiceError as error:
        return await _account_page(request, error, form)
    _note(request, changed, members=sorted(fields.given))
    return _back(request, "account_changed")


async def pause_account(request: ApiRequest) -> JsonAnswer:
    """Pause an account, with the reason of a form."""
    form = await read_form(request)
    try:
        reason = reason_of(form)
        paused = await services_of(request).accounts.pause(*_named(request), reason)
    except ServiceError as error:
        return await _account_page(request, error)
    _note(request, paused, why=reason)
    return _back(request, "paused")


async def resume_account(request: ApiRequest) -> JsonAnswer:
    """Resume an account."""
    await read_form(request)
    _note(request, await services_of(request).accounts.resume(*_named(request)))
    return _back(request, "resumed")


async def test_account(request: ApiRequest) -> JsonAnswer:
    """Have a worker test an account, and show what it found."""
    await read_form(request)
    try:
        _note(request, await services_of(request).accounts.test(*_named(request)))
    except ServiceError as error:
        return await _account_page(request, error)
    return _back(request, "account_tested")


async def remove_account(request: ApiRequest) -> JsonAnswer:
    """Forget an account, if the form repeats its id."""
    form = await read_form(request)
    platform, account_id = _named(request)
    if form.get("repeat") != account_id:
        error = InvalidValue("Repeat the account's id to remove it.", "$.repeat")
        return await _account_page(request, error)
    _note(request, await services_of(request).accounts.remove(platform, account_id))
    return SeeOther("../../../accounts?done=account_removed")


def _note(request: ApiRequest, account: AccountRecord, why: str | None = None, **details: Any) -> None:
    """Say in the audit which account is changed."""
    note_of(request).about("/".join(account.key), why=why, **details)


def _named(request: ApiRequest) -> tuple[str, str]:
    return request.path_params["platform"], request.path_params["account_id"]


def _back(request: ApiRequest, done: str) -> SeeOther:
    """Back to the account, from an address below it."""
    return SeeOther(f"../{quote(_named(request)[1], safe='')}?done={done}")


def _status(name: str | None) -> AccountStatus | None:
    try:
        return None if name is None else AccountStatus(name)
    except ValueError:
        raise InvalidValue(f"There is no status {name!r} of accounts.", "?status") from None


def _fields_of(form: Mapping[str, str]) -> AccountFields:
    """The fields of an account in a form.

    Raises:
        InvalidValue: A value does not fit.
    """
    title = form.get("title", "").strip()
    if len(title) > LONGEST_TITLE or "\x00" in title:
        raise InvalidValue(f"It has at most {LONGEST_TITLE} characters.", "$.title")
    return AccountFields(
        title=title,
        timezone=form.get("timezone", "").strip() or None,
        credentials=_credentials_of(form.get("credentials", "")),
        options=_options_of(form.get("options", "")),
    )


def _credentials_of(text: str) -> Credentials:
    """The references in lines such as `password = env:EVERPOST_ACCOUNT_STUDIO`."""
    pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
    found = {name.strip(): reference.strip() for name, _, reference in pairs}
    if len(found) > MOST_CREDENTIALS:
        raise InvalidValue(f"An account has at most {MOST_CREDENTIALS} credentials.", "$.credentials")
    try:
        return msgspec.convert(found, Credentials)
    except msgspec.ValidationError as error:
        raise invalid_value(error) from error


def _options_of(text: str) -> dict[str, Any]:
    options = decode_json(text.encode()) if text.strip() else {}
    if not isinstance(options, dict):
        raise InvalidValue("The options are a JSON object.", "$.options")
    encode_json(options)  # refuses NUL
    return options


async def _account_page(
    request: ApiRequest, error: ServiceError | None = None, form: Mapping[str, str] | None = None
) -> JsonAnswer:
    services = services_of(request)
    account = shown_account(await services.accounts.show(*_named(request)))
    return render(
        request,
        "account.html",
        status=HTTPStatus.OK if error is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        account=account,
        form=_form_of(account) if form is None else EMPTY | dict(form),
        lane=lane_of(account.platform, account.account_id),
        error=error,
    )


def _new_page(request: ApiRequest, form: Mapping[str, str], error: ServiceError | None) -> JsonAnswer:
    return render(
        request,
        "new_account.html",
        status=HTTPStatus.OK if error is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        form=EMPTY | dict(form),
        platforms=[platform.name for platform in services_of(request).catalogue],
        error=error,
    )


def _form_of(account: ShownAccount) -> dict[str, str]:
    options = msgspec.json.format(msgspec.json.encode(account.options), indent=2).decode() if account.options else ""
    return {
        "title": account.title,
        "timezone": account.timezone or "",
        "credentials": "\n".join(f"{name} = {reference}" for name, reference in account.credentials.items()),
        "options": options,
    }
