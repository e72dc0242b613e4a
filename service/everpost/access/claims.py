"""The role of a person whom an identity provider has signed in: what the claims about the person say."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from everpost.access.roles import Role

ANYONE = "*"


class RoleRule(msgspec.Struct, frozen=True):
    """A claim and a value of it, and the role that it gives; the claim `*` fits everyone."""

    claim: str
    value: str
    role: Role

    def fits(self, claims: Mapping[str, Any]) -> bool:
        """Whether the claims have the value, or a list of values with it."""
        if self.claim == ANYONE:
            return True
        found = claims.get(self.claim)
        return self.value in found if isinstance(found, list) else found == self.value


def read_rules(text: str) -> Sequence[RoleRule]:
    """The rules of a text such as `groups:admins=admin, groups:ops=operator, *=viewer`.

    Raises:
        ValueError: The text is not written like this.
    """
    return [_rule(part.strip()) for part in text.split(",") if part.strip()]


def role_of(claims: Mapping[str, Any], rules: Sequence[RoleRule]) -> Role | None:
    """The role with the most rights that a rule gives; None if no rule fits."""
    given = {rule.role for rule in rules if rule.fits(claims)}
    return max(given, key=list(Role).index, default=None)


def _rule(text: str) -> RoleRule:
    told, equals, role = text.rpartition("=")
    claim, colon, value = told.partition(":")
    if not equals or (claim != ANYONE and not (claim and colon and value)):
        raise ValueError(f"{text!r} is not CLAIM:VALUE=ROLE, or *=ROLE")
    return RoleRule(claim, value, Role(role.strip()))
