"""Who did what to which tasks, when, from where and why."""

from http import HTTPStatus
from urllib.parse import urlencode

import msgspec

from everpost.access import How
from everpost.api.console.frame import render
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.services import ApiRequest, services_of
from everpost.errors import InvalidValue, ServiceError
from everpost.store.audit import AuditFilter
from everpost.views.audit_views import ShownPage, page_of_audit, with_times

ROWS = 100
FIELDS = AuditFilter.__struct_fields__


async def show_audit(request: ApiRequest) -> JsonAnswer:
    """Answer with a page of entries. A filter that does not fit is said above the list."""
    services = services_of(request)
    given = {name: text for name in FIELDS if (text := request.query_params.get(name, "").strip())}
    error: ServiceError | None = None
    page = ShownPage(entries=(), next_cursor=None)
    try:
        wanted = with_times(_filter(given), services.settings.zone)
        page = await page_of_audit(services.store.audit, wanted, request.query_params.get("cursor") or None, ROWS)
    except ServiceError as refused:
        error = refused
    return render(
        request,
        "audit.html",
        status=HTTPStatus.OK if error is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        page=page,
        given=dict.fromkeys(FIELDS, "") | given,
        query=urlencode(given),
        error=error,
        ways=[str(how) for how in How],
        words_of=lambda details: ", ".join(f"{name} {_word(value)}" for name, value in details.items()),
    )


def _filter(given: dict[str, str]) -> AuditFilter:
    try:
        return msgspec.convert(given, AuditFilter)
    except msgspec.ValidationError as error:
        raise InvalidValue(str(error), "$.how") from error


def _word(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={_word(member)}" for name, member in value.items() if member is not None)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()[:200]
