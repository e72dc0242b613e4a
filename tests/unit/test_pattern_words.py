"""Refused texts are told in words, not as regular expressions."""

from typing import Any

import msgspec
import pytest

from everpost.errors import InvalidValue
from everpost.task.account_rules import CredentialName, Reference
from everpost.task.holds import Words
from everpost.task.submission import invalid_value


@pytest.mark.parametrize(
    ("value", "kind", "told", "path"),
    [
        ({"token": "s3cr3t"}, dict[CredentialName, Reference], "is a reference", "$[...]"),
        ({"9": "env:EVERPOST_ACCOUNT_A"}, dict[CredentialName, Reference], "credential's name", "key in `$"),
        (["\x1b[31m"], list[Words], "control a terminal", "$[0]"),
        ([5], list[Words], "Expected `str`, got `int`", "$[0]"),
    ],
)
def test_a_text_that_does_not_match_is_refused_in_words(value: Any, kind: Any, told: str, path: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(value, kind)
    error = invalid_value(refused.value)
    assert isinstance(error, InvalidValue)
    assert told in error.message
    assert "regex" not in error.message
    assert error.path is not None
    assert path.removeprefix("key in `") in error.path
