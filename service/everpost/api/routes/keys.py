"""API keys: list, make, rotate and revoke them; and who a caller is."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.params import PathParameter
from msgspec import Meta

from everpost.access import Caller, KeyRate, KeyRecord, Right, Role
from everpost.access.keys import KeyName
from everpost.actions.keys import DEFAULT_OVERLAP_S, MadeKey, WantedKey
from everpost.api.http.audited import audited, note_of
from everpost.api.http.bodies import read_object, read_optional_object
from everpost.api.http.json_answer import JSON, JsonAnswer
from everpost.api.http.rights import caller_of, needs
from everpost.api.openapi.describe import Body, Header, documented
from everpost.api.services import ApiRequest, services_of
from everpost.settings import MOST_S

NamedKey = Annotated[str, PathParameter(description="The key's id, its prefix, or the name that one valid key has.")]
WITH_NAME = ("key_not_found",)
SAMPLES = {
    "A client that submits and watches its own tasks": {"name": "shop", "role": "publisher", "platforms": ["douyin"]},
    "An operator of one account, until the end of a month": {
        "name": "mei",
        "role": "operator",
        "accounts": ["douyin/studio"],
        "expires_in_s": 2_592_000,
    },
    "At most ten requests a second": {"name": "bot", "role": "viewer", "rate": {"count": 10, "per_s": 1}},
}
LOCATION = Header("Location", "The address of the keys.", "/api/v1/keys")


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make. Without platforms and accounts it reaches everything."""

    name: Annotated[KeyName, Meta(description="Who uses it; `by` of what is done with it.")]
    role: Role
    platforms: Annotated[list[int | str], Meta(description="Platforms it reaches: ids, names or aliases.")] = []
    accounts: Annotated[list[str], Meta(description="Accounts it reaches besides, as PLATFORM/ACCOUNT.")] = []
    rate: Annotated[KeyRate | None, Meta(description="The most requests; null is no limit.")] = None
    expires_in_s: Annotated[float, Meta(gt=0, le=10 * MOST_S, description="Null is never.")] | None = None


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how many seconds the old key stays valid, so that clients can be changed one by one."""

    overlap_s: Annotated[float, Meta(ge=0, le=MOST_S)] = DEFAULT_OVERLAP_S


class ShownKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret.

    Attributes:
        prefix: Its first characters, by which people recognise it.
        platforms, accounts: What it reaches; both empty is everything.
        last_used_at: Written at most once a minute.
    """

    key_id: str
    name: str
    role: Role
    prefix: str
    platforms: Sequence[str]
    accounts: Sequence[str]
    rate: KeyRate | None
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    revoked_by: str | None
    last_used_at: str | None


class KeysAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All keys, the newest first, also those that are not valid any more."""

    success: bool
    data: Sequence[ShownKey]


class KeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is now."""

    success: bool
    message: str
    data: ShownKey


class NewKeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A new key. `key` is its whole text, which is shown this once only."""

    success: bool
    message: str
    key: str
    data: ShownKey


class CallerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends the request, and what it may do.

    Attributes:
        platforms, accounts: What it reaches; both empty is everything.
    """

    success: bool
    name: str
    role: Role
    rights: Sequence[Right]
    platforms: Sequence[str]
    accounts: Sequence[str]


@get(
    "/keys",
    summary="List keys",
    description="All API keys, without their secrets.",
    tags=["Keys"],
    opt=needs(Right.ADMIN),
    **documented(KeysAnswer, description="The keys."),
)
async def list_keys(request: ApiRequest) -> JsonAnswer:
    """Answer with all keys."""
    return JsonAnswer(KeysAnswer(success=True, data=[shown_key(key) for key in await services_of(request).keys.all()]))


@post(
    "/keys",
    summary="Make a key",
    description="Makes an API key. Its whole text is in the answer, and is kept nowhere. All processes know the key "
    "within a second. From the first key on, every request needs one, or EVERPOST_TOKEN.",
    tags=["Keys"],
    opt=needs(Right.ADMIN),
    **documented(
        NewKeyAnswer,
        status=201,
        description="The key is made.",
        refusals=("unknown_platform", "key_exists"),
        body=Body("The key.", {JSON: NewKey}, SAMPLES),
        gives=(LOCATION,),
    ),
)
@audited
async def create_key(request: ApiRequest) -> JsonAnswer:
    """Make a key."""
    services = services_of(request)
    body = await read_object(request, NewKey, services.settings.max_body)
    wanted = WantedKey(**msgspec.structs.asdict(body))
    return _made(request, await services.keys.create(wanted, caller_of(request)), "Key created")


@post(
    "/keys/{key_id:str}/rotate",
    summary="Replace a key",
    description="Makes a key with the name, role, scope and rate of another one, which expires after `overlap_s`.",
    tags=["Keys"],
    opt=needs(Right.ADMIN),
    **documented(
        NewKeyAnswer,
        status=201,
        description="The new key is made; the old one expires.",
        refusals=(*WITH_NAME, "key_exists"),
        body=Body("How long both are valid.", {JSON: Rotation}, {"A day": {"overlap_s": 86_400}}, required=False),
        gives=(LOCATION,),
    ),
)
@audited
async def rotate_key(request: ApiRequest, key_id: NamedKey) -> JsonAnswer:
    """Replace a key."""
    services = services_of(request)
    body = await read_optional_object(request, Rotation, services.settings.max_body) or Rotation()
    made = await services.keys.rotate(key_id, body.overlap_s, caller_of(request))
    return _made(request, made, "Key created in place of another", replaces=key_id)


@delete(
    "/keys/{key_id:str}",
    summary="Revoke a key",
    description="Refuses a key for ever, and ends the sessions that were begun with it. All processes know it within "
    "a second. The key stays in the list.",
    tags=["Keys"],
    opt=needs(Right.ADMIN),
    **documented(KeyAnswer, description="It is revoked.", refusals=(*WITH_NAME, "last_admin_key")),
)
@audited
async def revoke_key(request: ApiRequest, key_id: NamedKey) -> JsonAnswer:
    """Revoke a key."""
    revoked = await services_of(request).keys.revoke(key_id, caller_of(request))
    _note(request, revoked)
    return JsonAnswer(KeyAnswer(success=True, message="Key revoked", data=shown_key(revoked)))


@get(
    "/whoami",
    summary="Show the caller",
    description="Who sends the request, by its token, key or session, and what it may do.",
    tags=["Keys"],
    opt=needs(Right.READ, scoped=True),
    **documented(CallerAnswer, description="The caller."),
)
async def show_caller(request: ApiRequest) -> JsonAnswer:
    """Answer with the caller."""
    return JsonAnswer(_shown_caller(caller_of(request)))


def shown_key(key: KeyRecord) -> ShownKey:
    """A key without its secret, or the digest of it."""
    values = msgspec.structs.asdict(key)
    scope = values.pop("scope")
    del values["digest"]
    return ShownKey(**values, platforms=scope.platforms, accounts=["/".join(pair) for pair in scope.accounts])


def _shown_caller(caller: Caller) -> CallerAnswer:
    return CallerAnswer(
        success=True,
        name=caller.name,
        role=caller.role,
        rights=[right for right in Right if right in caller.rights],
        platforms=sorted(caller.platforms or ()),
        accounts=["/".join(pair) for pair in sorted(caller.accounts or ())],
    )


def _made(request: ApiRequest, made: MadeKey, message: str, **details: str) -> JsonAnswer:
    _note(request, made.record, **details)
    answer = NewKeyAnswer(success=True, message=message, key=made.secret, data=shown_key(made.record))
    return JsonAnswer(answer, 201, headers={"location": LOCATION.example, "cache-control": "no-store"})


def _note(request: ApiRequest, key: KeyRecord, **details: str) -> None:
    """Say in the audit which key is made or revoked."""
    scope = msgspec.to_builtins(key.scope)
    note_of(request).about(key.key_id, name=key.name, key_role=key.role, prefix=key.prefix, scope=scope, **details)
