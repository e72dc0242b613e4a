"""Query parameters: an unknown one is an error, and is not ignored."""

from functools import lru_cache
from urllib.parse import parse_qsl

from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from everpost.api.services import ApiRequest
from everpost.errors import InvalidValue

REPEATED = "*"
SHOWN = 64  # characters of a name that an error shows

PARAMETERS = "parameters"
"""The `opt` of a handler that reads queries itself: the names it knows, by the template of the path.

A name with a `*` behind it may be given repeatedly. A `*` alone admits every name.
"""


def check_parameters(request: ApiRequest) -> None:
    """Refuse parameters that the route does not know, or that are given twice.

    Raises:
        InvalidValue: There is such a parameter.
    """
    query = request.scope["query_string"]
    if not query:
        return
    handler = request.route_handler
    told = handler.opt.get(PARAMETERS)
    known = known_parameters(handler) if told is None else told[request.scope["path_template"]]
    if REPEATED in known:
        return
    names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)]
    for name in names:
        if f"{name}{REPEATED}" in known:
            continue
        if name not in known:
            hint = f"there are {', '.join(known)}" if known else "there are none"
            raise InvalidValue(f"There is no parameter {name[:SHOWN]!r} here; {hint}.", f"?{name[:SHOWN]}")
        if names.count(name) > 1:
            raise InvalidValue("The parameter is given more than once.", f"?{name}")


@lru_cache
def known_parameters(handler: BaseRouteHandler) -> tuple[str, ...]:
    """The query parameters of a route."""
    return tuple(
        field.kwarg_definition.name or name
        for name, field in handler.parsed_fn_signature.parameters.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    )
