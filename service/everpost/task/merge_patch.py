"""JSON merge patches: RFC 7396."""

from collections.abc import Mapping
from typing import Any


def merge_patch(target: Any, patch: Any) -> Any:
    """The target with the patch applied (RFC 7396 §2); neither of them changes."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def former_members(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The members of `before` that are another or absent in `after`. Members that were added are not among them."""
    return {name: value for name, value in before.items() if name not in after or not _same(after[name], value)}


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; in Python, `True == 1`."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)
