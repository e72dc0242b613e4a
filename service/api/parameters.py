"""Query parameters: one that no route knows is a mistake to be told of, not to be passed over."""

from functools import lru_cache
from urllib.parse import parse_qsl

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from service.errors import InvalidValue


async def refuse_unknown_parameters(connection: ASGIConnection, handler: BaseRouteHandler) -> None:  # type: ignore[type-arg]
    """A guard: only parameters the route knows, each once.

    Raises:
        InvalidValue: There is another.
    """
    query = connection.scope["query_string"]
    if not query:
        return
    known = known_parameters(handler)
    names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)]
    for name in names:
        if name not in known:
            raise InvalidValue(
                f"There is no parameter {name[:64]!r} here; there are {', '.join(known) or 'none'}.", f"?{name[:64]}"
            )
        if names.count(name) > 1:
            raise InvalidValue("The parameter is given more than once.", f"?{name}")


@lru_cache
def known_parameters(handler: BaseRouteHandler) -> tuple[str, ...]:
    """The query parameters of a route."""
    return tuple(
        name
        for name, field in handler.parsed_fn_signature.parameters.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    )
