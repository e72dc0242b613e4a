"""The registered accounts: list, show, register, change, test, pause, resume and remove them."""

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from litestar import delete, get, patch, post
from litestar.params import PathParameter, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from everpost.access import Right
from everpost.actions.accounts import AccountFields
from everpost.api.http.audited import audited, note_of
from everpost.api.http.bodies import headers_of, read_body, read_object
from everpost.api.http.json_answer import JSON, JsonAnswer
from everpost.api.http.rights import caller_of, needs
from everpost.api.openapi.describe import Body, Header, documented
from everpost.api.services import ApiRequest, services_of
from everpost.store.lists.cursor import Key, read_cursor, write_cursor
from everpost.task.account_rules import (
    LONGEST_REASON,
    MOST_CREDENTIALS,
    AccountId,
    AccountRecord,
    AccountStatus,
    CredentialName,
    Reference,
)
from everpost.task.submission import decode_json, encode_json, invalid_value
from everpost.views.shown_accounts import ShownAccount, shown_account

NO_NUL = r"^[^\x00]*$"
MOST = 1_000
WITH_ACCOUNT = ("account_not_found",)

Title = Annotated[str, Meta(max_length=256, pattern=NO_NUL)]
Options = Annotated[dict[str, Any], Meta(description="For the publisher. Not secret: every client can read it.")]
Credentials = Annotated[
    dict[CredentialName, Reference],
    Meta(
        max_length=MOST_CREDENTIALS,
        description="Where each secret is: `env:EVERPOST_ACCOUNT_…`, an environment variable of the workers, or "
        "`file:NAME`, a file in their folder EVERPOST_SECRETS. Never the secret itself.",
    ),
]
Zone = Annotated[str, Meta(min_length=1, max_length=64)]
Platform = Annotated[str, PathParameter(description="The platform's id, name or alias.")]
Account = Annotated[str, PathParameter(description="The account's id.")]

SAMPLE = {
    "platform": "douyin",
    "account_id": "studio",
    "title": "The studio's account",
    "credentials": {"cookies": "file:douyin/studio.json", "password": "env:EVERPOST_ACCOUNT_STUDIO"},
    "timezone": "Asia/Shanghai",
}
LOCATION = Header("Location", "The account's address.", "/api/v1/accounts/douyin/studio")


class NewAccount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account to register."""

    platform: Annotated[int | str, Meta(description="A platform's id, name or alias; see GET /platforms")]
    account_id: Annotated[AccountId, Meta(description="What tasks name it")]
    title: Title = ""
    options: Options = {}
    credentials: Credentials = {}
    timezone: Zone | None = None


class ChangedAccount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields to replace. Other credentials make tokens void that a publisher has stored."""

    title: Title | UnsetType = UNSET
    options: Options | UnsetType = UNSET
    credentials: Credentials | UnsetType = UNSET
    timezone: Zone | UnsetType | None = UNSET


class AccountPause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why the account is paused; shown with its tasks."""

    reason: Annotated[str, Meta(min_length=1, max_length=LONGEST_REASON, pattern=NO_NUL)] | None = None


class AccountAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An account as it is now."""

    success: bool
    message: str
    data: ShownAccount


class AccountsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Accounts in the order of platform and id; `next_cursor` is None on the last page.

    A page has fewer than `limit` if the caller does not reach all of its accounts.
    """

    success: bool
    data: Sequence[ShownAccount]
    next_cursor: str | None


@get(
    "/accounts",
    summary="List accounts",
    description="The registered accounts, with their status. Credentials are references; no answer has a secret.",
    tags=["Accounts"],
    opt=needs(Right.READ, scoped=True),
    **documented(AccountsAnswer, description="Some accounts.", refusals=("unknown_platform",)),
)
async def list_accounts(
    request: ApiRequest,
    platform: Annotated[str | None, QueryParameter(description="Only of this platform: its id, name or alias.")] = None,
    status: Annotated[AccountStatus | None, QueryParameter(description="Only with this status.")] = None,
    cursor: Annotated[str | None, QueryParameter(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST, description="The most accounts of a page.")] = 100,
) -> JsonAnswer:
    """Answer with a page of accounts."""
    key = None if cursor is None else read_cursor(cursor)
    after = None if key is None else (str(key.created_at), key.task_id)
    page = await services_of(request).accounts.page(after, limit, platform, status)
    following = write_cursor(Key(*page[-1].key)) if len(page) == limit else None
    caller = caller_of(request)
    shown = [shown_account(one) for one in page if caller.may_reach(*one.key)]
    return JsonAnswer(AccountsAnswer(success=True, data=shown, next_cursor=following))


@post(
    "/accounts",
    summary="Register an account",
    description="Registers an account of a platform, so that its publisher gets options and credentials, and an "
    "account that the platform refuses is put on hold instead of failing all its tasks. Workers know it within a "
    "second.",
    tags=["Accounts"],
    opt=needs(Right.ADMIN),
    **documented(
        AccountAnswer,
        status=201,
        description="The account is registered.",
        refusals=("unknown_platform", "account_exists"),
        body=Body("The account.", {JSON: NewAccount}, {"An account": SAMPLE}),
        gives=(LOCATION,),
    ),
)
@audited
async def add_account(request: ApiRequest) -> JsonAnswer:
    """Register an account."""
    services = services_of(request)
    body = await read_object(request, NewAccount, services.settings.max_body)
    encode_json(body.options)  # refuses NUL
    fields = AccountFields(title=body.title, options=body.options, credentials=body.credentials, timezone=body.timezone)
    added = await services.accounts.add(body.platform, body.account_id, fields)
    _note(request, added, members=sorted(fields.given))
    location = f"/api/v1/accounts/{added.platform}/{quote(added.account_id, safe='')}"
    return JsonAnswer(_answer(added, "Account registered"), 201, headers={"location": location})


@get(
    "/accounts/{platform:str}/{account_id:str}",
    summary="Show an account",
    description="One registered account.",
    tags=["Accounts"],
    opt=needs(Right.READ),
    **documented(AccountAnswer, description="The account.", refusals=WITH_ACCOUNT),
)
async def show_account(request: ApiRequest, platform: Platform, account_id: Account) -> JsonAnswer:
    """Answer with an account."""
    return JsonAnswer(_answer(await services_of(request).accounts.show(platform, account_id), "Account found"))


@patch(
    "/accounts/{platform:str}/{account_id:str}",
    summary="Change an account",
    description="Replaces the given fields. It stays on hold, if it is, until it is resumed.",
    tags=["Accounts"],
    opt=needs(Right.ADMIN),
    **documented(
        AccountAnswer,
        description="The account is changed.",
        refusals=WITH_ACCOUNT,
        body=Body("The fields.", {JSON: ChangedAccount}, {"Other credentials": {"credentials": SAMPLE["credentials"]}}),
    ),
)
@audited
async def change_account(request: ApiRequest, platform: Platform, account_id: Account) -> JsonAnswer:
    """Change an account."""
    services = services_of(request)
    body = await read_object(request, ChangedAccount, services.settings.max_body)
    if body.options is not UNSET:
        encode_json(body.options)  # refuses NUL
    fields = AccountFields(title=body.title, options=body.options, credentials=body.credentials, timezone=body.timezone)
    changed = await services.accounts.change(platform, account_id, fields)
    _note(request, changed, members=sorted(fields.given))
    return JsonAnswer(_answer(changed, "Account changed"))


@delete(
    "/accounts/{platform:str}/{account_id:str}",
    summary="Remove an account",
    description="Forgets the account and its stored tokens. Its waiting tasks go on as tasks of an account that is not "
    "registered; if the platform needs registered accounts, they fail as `invalid`.",
    tags=["Accounts"],
    opt=needs(Right.ADMIN),
    **documented(AccountAnswer, description="The removed account.", refusals=WITH_ACCOUNT),
)
@audited
async def remove_account(request: ApiRequest, platform: Platform, account_id: Account) -> JsonAnswer:
    """Remove an account."""
    removed = await services_of(request).accounts.remove(platform, account_id)
    _note(request, removed)
    return JsonAnswer(_answer(removed, "Account removed"))


@post(
    "/accounts/{platform:str}/{account_id:str}/test",
    summary="Test an account",
    description="A worker looks whether every reference leads to a value and, if the publisher can, asks the platform "
    "whether it accepts them. `data.test` has what it found. The account's status stays as it is.",
    tags=["Accounts"],
    opt=needs(Right.OPERATE),
    **documented(AccountAnswer, description="The test was made.", refusals=(*WITH_ACCOUNT, "account_not_tested")),
)
@audited
async def test_account(request: ApiRequest, platform: Platform, account_id: Account) -> JsonAnswer:
    """Test an account."""
    tested = await services_of(request).accounts.test(platform, account_id)
    passed = tested.test is not None and tested.test.ok
    _note(request, tested, passed=passed)
    return JsonAnswer(_answer(tested, "The account can publish" if passed else "The account cannot publish"))


@post(
    "/accounts/{platform:str}/{account_id:str}/pause",
    summary="Pause an account",
    description="Its tasks wait from now on and spend no attempt; attempts that run go on. The body is optional.",
    tags=["Accounts"],
    opt=needs(Right.OPERATE),
    **documented(
        AccountAnswer,
        description="The account is paused.",
        refusals=WITH_ACCOUNT,
        body=Body("The reason.", {JSON: AccountPause}, {"A reason": {"reason": "the campaign is postponed"}}),
    ),
)
@audited
async def pause_account(request: ApiRequest, platform: Platform, account_id: Account) -> JsonAnswer:
    """Pause an account."""
    services = services_of(request)
    body = await _pause_of(request, services.settings.max_body)
    paused = await services.accounts.pause(platform, account_id, body.reason)
    _note(request, paused, why=body.reason)
    return JsonAnswer(_answer(paused, "Account paused"))


@post(
    "/accounts/{platform:str}/{account_id:str}/resume",
    summary="Resume an account",
    description="Its tasks go on, whether a person paused it, or a failure put it on hold or blocked it.",
    tags=["Accounts"],
    opt=needs(Right.OPERATE),
    **documented(AccountAnswer, description="The account is active.", refusals=WITH_ACCOUNT),
)
@audited
async def resume_account(request: ApiRequest, platform: Platform, account_id: Account) -> JsonAnswer:
    """Resume an account."""
    resumed = await services_of(request).accounts.resume(platform, account_id)
    _note(request, resumed)
    return JsonAnswer(_answer(resumed, "Account resumed"))


def _note(request: ApiRequest, account: AccountRecord, why: str | None = None, **details: Any) -> None:
    """Say in the audit which account is changed. The values are not kept: options may be long."""
    note_of(request).about("/".join(account.key), why=why, **details)


async def _pause_of(request: ApiRequest, limit_bytes: int) -> AccountPause:
    raw = await read_body(request, headers_of(request), limit_bytes)
    if not raw:
        return AccountPause()
    try:
        return msgspec.convert(decode_json(raw), AccountPause)
    except msgspec.ValidationError as error:
        raise invalid_value(error) from error


def _answer(account: AccountRecord, message: str) -> AccountAnswer:
    return AccountAnswer(success=True, message=message, data=shown_account(account))
