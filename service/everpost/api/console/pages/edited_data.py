"""What a form changes in a task's data, as a JSON merge patch."""

from typing import Any


def patch_between(shown: Any, edited: Any) -> Any:
    """The JSON merge patch (RFC 7396) from one value to another."""
    if not isinstance(shown, dict) or not isinstance(edited, dict):
        return edited
    patch: dict[str, Any] = {name: None for name in shown if name not in edited}
    for name, value in edited.items():
        if name not in shown or shown[name] != value:
            patch[name] = patch_between(shown.get(name), value)
    return patch
