"""Roles from the claims of an identity provider."""

from collections.abc import Mapping
from typing import Any

import pytest

from everpost.access import Role
from everpost.access.claims import read_rules, role_of

RULES = "groups:admins=admin, groups:ops=operator, team:a=b=publisher"


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"groups": ["x", "ops"]}, Role.OPERATOR),
        ({"groups": ["ops", "admins"]}, Role.ADMIN),
        ({"groups": "admins"}, Role.ADMIN),
        ({"groups": "admins-not"}, None),
        ({"groups": {"admins": True}}, None),
        ({"team": "a=b"}, Role.PUBLISHER),
        ({}, None),
    ],
)
def test_the_role_with_the_most_rights_counts(claims: Mapping[str, Any], role: Role | None) -> None:
    assert role_of(claims, read_rules(RULES)) == role


def test_a_star_is_everyone() -> None:
    assert role_of({}, read_rules("*=viewer, groups:ops=operator")) == Role.VIEWER
    assert role_of({"groups": ["ops"]}, read_rules("*=viewer,groups:ops=operator")) == Role.OPERATOR
    assert role_of({}, read_rules("")) is None


@pytest.mark.parametrize("text", ["admins", "groups=admin", "groups:=admin", ":x=admin", "groups:x=root", "*"])
def test_what_is_not_a_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"CLAIM:VALUE=ROLE|is not a valid Role"):
        read_rules(text)
