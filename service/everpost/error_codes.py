"""The meaning of every stable `code`, for clients."""

from collections.abc import Iterator
from types import MappingProxyType

from everpost import errors

TRANSPORT_CODES = MappingProxyType(
    {
        "route_not_found": "There is no such route.",
        "method_not_allowed": "The route takes other methods; `Allow` names them.",
        "internal_error": "A defect in Everpost; the log has the details.",
    }
)
"""Codes without an error class, because only HTTP has them."""


def meaning_of_codes() -> dict[str, str]:
    """The meaning of every code: the first line of its class's docstring."""
    found = {error.code: (error.__doc__ or "").partition("\n")[0] for error in error_classes(errors.ServiceError)}
    return {**found, **TRANSPORT_CODES}


def error_classes(root: type[errors.ServiceError]) -> Iterator[type[errors.ServiceError]]:
    """Every class of `everpost.errors`, `root` first."""
    yield root
    for child in root.__subclasses__():
        if child.__module__.startswith(f"{errors.__name__}."):
            yield from error_classes(child)
