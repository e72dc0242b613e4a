"""What clients and logs are not shown: members of tasks by a list of names.

Nothing that is stored changes. Publishers, retries and backups have everything.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import msgspec

from everpost.known_secrets import HIDDEN, KnownSecrets

USUAL = (
    "*password", "*passwd", "*passphrase", "*secret", "*token", "*api_key", "*access_key", "*private_key",
    "authorization", "*cookie", "*cookies", "*credential", "*credentials", "*session_id", "sessdata",
)  # fmt: skip
"""The names that are hidden unless the setting shows them."""

ANY = "*"
KEPT_NAMES = 4_096
ENTRY = re.compile(r"!?\*?[^\s*!,.]+\*?|!\*|([^\s*!,.]+|\*)(\.([^\s*!,.]+|\*))+")
_SQUEEZE = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))
_SPACERS = b"-_ "
_PARAMETER = re.compile(r"([?&;#]([^=&?;#\s\"']{1,100})=)([^&;#\s\"'<>]+)")

Path = tuple[str, ...]
"""The names of a member and of those around it, from the outermost one; `ANY` stands for each name."""


def squeezed(name: str) -> str:
    """A name as names are compared: without `-`, `_` and spaces, its ASCII letters in lower case."""
    return name.encode(errors="surrogatepass").translate(_SQUEEZE, _SPACERS).decode(errors="surrogatepass")


class Rules(NamedTuple):
    """The parsed list: whole names, and the ends, beginnings and middles of names."""

    names: frozenset[str]
    ends: tuple[str, ...]
    beginnings: tuple[str, ...]
    middles: tuple[str, ...]


class Redactor:
    """Hides members of JSON values by their names, at any depth, or by their paths.

    Args:
        entries: Names and paths, as `EVERPOST_REDACT` has them; see `Redactor.read`.
    """

    def __init__(self, entries: Sequence[str] = USUAL) -> None:
        self.entries = tuple(entries)
        self._paths = tuple(tuple(map(squeezed, entry.split("."))) for entry in entries if "." in entry)
        names = [squeezed(entry) for entry in entries if "." not in entry]
        self._rules = _rules_of(names)
        self._cores = tuple(sorted({name.strip(ANY).encode() for name in names}))
        self._known: dict[str, bool] = {}
        self._plain: set[str] = set()  # those of the known names that are not hidden

    @classmethod
    def read(cls, setting: str | None) -> Self:
        """The redactor of a setting: names and paths, separated by commas, besides the usual names.

        `name` hides the members of that name at any depth; `*` stands for the rest of a name, at its ends only.
        `a.b` hides the member b of the member a; lists are passed through, and `*` stands for any one name.
        `!name` shows a usual name again, and `!*` all of them.

        Raises:
            ValueError: An entry is written otherwise.
        """
        wanted = [entry.strip() for entry in (setting or "").split(",") if entry.strip()]
        for entry in wanted:
            if not ENTRY.fullmatch(entry):
                raise ValueError(f"{entry!r} is neither a name nor a path such as contact.*.phone")
        shown = {squeezed(entry[1:]) for entry in wanted if entry.startswith("!")}
        usual = [name for name in USUAL if ANY not in shown and squeezed(name) not in shown]
        return cls((*usual, *(entry for entry in wanted if not entry.startswith("!"))))

    def hides(self, name: str) -> bool:
        """Whether a member of this name is hidden at any depth. Answers are kept: the same names come often."""
        hidden = self._known.get(name)
        if hidden is None:
            flat, rules = squeezed(name), self._rules
            hidden = flat in rules.names or flat.endswith(rules.ends) or flat.startswith(rules.beginnings)
            hidden = hidden or any(part in flat for part in rules.middles)
            if len(self._known) < KEPT_NAMES:
                self._known[name] = hidden
                if not hidden:
                    self._plain.add(name)
        return hidden

    def hide_members(
        self, members: Mapping[str, msgspec.Raw], found: list[str] | None = None
    ) -> dict[str, msgspec.Raw]:
        """The members of a task's data; the texts that are hidden are added to `found`."""
        return {
            name: msgspec.Raw(self._shown_member(name, bytes(value), self._paths, found))
            for name, value in members.items()
        }

    def hide_json(self, document: bytes, found: list[str] | None = None) -> bytes:
        """A JSON document, such as a task's data. Other bytes are hidden whole if they may name a secret."""
        try:
            return self._shown(document, self._paths, found)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return b'"***"' if self.may_name(document) else document

    def hide_in(self, value: Any, found: list[str] | None = None) -> Any:
        """A plain JSON value, such as a publisher's result, without what the names hide. Paths do not count for it."""
        if isinstance(value, str):
            return self.hide_text(value)
        if isinstance(value, Mapping):
            return {
                name: _hidden(inner, found)
                if isinstance(name, str) and self.hides(name)
                else self.hide_in(inner, found)
                for name, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.hide_in(inner, found) for inner in value]
        return value

    def hide_text(self, text: str) -> str:
        """A text without the values of hidden parameters in the addresses that it holds."""
        if "=" not in text:
            return text
        return _PARAMETER.sub(lambda part: part[1] + HIDDEN if self.hides(part[2]) else part[0], text)

    def texts_in(self, data: Mapping[str, Any]) -> list[str]:
        """The texts of the members that are hidden in a task's data."""
        if not self._paths and self._is_plain(data):
            return []
        found: list[str] = []
        left: list[tuple[Any, tuple[Path, ...]]] = [(data, self._paths)]
        while left:
            value, paths = left.pop()
            if type(value) is list:
                left += [(inner, paths) for inner in value if type(inner) is dict or type(inner) is list]
                continue
            for name, inner in value.items():
                if self._is_secret(name, paths):
                    found += _texts_of(inner)
                elif type(inner) is dict or type(inner) is list:
                    left.append((inner, _behind(name, paths)))
        return found

    def _is_plain(self, data: Mapping[str, Any]) -> bool:
        """Whether all names in the data are known and not hidden; quick, because every task that runs is looked at."""
        left = [data]
        for members in left:
            if not self._plain.issuperset(members):
                return False
            for value in members.values():
                kind = type(value)
                if kind is dict:
                    left.append(value)
                elif kind is list:
                    for item in value:
                        if type(item) is dict:
                            left.append(item)
                        elif type(item) is list:
                            return False  # rare, so the slower way is good enough
        return True

    def without_hidden(self, patch: Mapping[str, Any]) -> dict[str, Any]:
        """A merge patch without hidden members that came back as they were shown, so that they stay as they are.

        Raises:
            ValueError: One is in a list, which a patch replaces whole.
        """
        return self._without_hidden(patch, self._paths)

    def _without_hidden(self, patch: Mapping[str, Any], paths: Sequence[Path]) -> dict[str, Any]:
        left: dict[str, Any] = {}
        for name, value in patch.items():
            if self._is_secret(name, paths) and value == HIDDEN:
                continue
            behind = _behind(name, paths)
            if isinstance(value, Mapping):
                left[name] = self._without_hidden(value, behind)
                continue
            left[name] = value
            if isinstance(value, list) and self._has_shown(value, behind):
                raise ValueError(f"{HIDDEN} in the list {name} stands for a value that is not shown: give the value")
        return left

    def _has_shown(self, value: Any, paths: Sequence[Path]) -> bool:
        if isinstance(value, list):
            return any(self._has_shown(item, paths) for item in value)
        if not isinstance(value, Mapping):
            return False
        return any(
            (self._is_secret(name, paths) and inner == HIDDEN) or self._has_shown(inner, _behind(name, paths))
            for name, inner in value.items()
        )

    @property
    def has_paths(self) -> bool:
        """Whether the place of a member matters, and not only its name."""
        return bool(self._paths)

    def hides_member(self, name: str) -> bool:
        """Whether a member of a task's data, not of an object in it, is hidden."""
        return self._is_secret(name, self._paths)

    def hides_somewhere(self, name: str) -> bool:
        """Whether a member of this name is hidden, or would be at some path; for text whose paths are not known."""
        return self.hides(name) or any(path[-1] in {ANY, squeezed(name)} for path in self._paths)

    @property
    def digest(self) -> str:
        """Tells lists apart: the same for the same entries in any order."""
        return hashlib.sha256("\n".join(sorted(set(self.entries))).encode()).hexdigest()[:16]

    def may_name(self, document: bytes) -> bool:
        """False only if nothing in the bytes, JSON or not, can be a hidden member."""
        return bool(self._paths) or self._has_name(document)

    def _has_name(self, document: bytes) -> bool:
        if b"\\u" in document:
            return True
        flat = document.translate(_SQUEEZE, _SPACERS)
        return any(core in flat for core in self._cores)

    def _shown(self, document: bytes, paths: Sequence[Path], found: list[str] | None) -> bytes:
        """The value as it is shown. Only what may hold a hidden member is built."""
        if not paths and not self._has_name(document):
            return document
        first = document.lstrip()[:1]
        if first == b"{":
            members = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
            shown = {
                name: msgspec.Raw(self._shown_member(name, bytes(inner), paths, found))
                for name, inner in members.items()
            }
            return msgspec.json.encode(shown)
        if first == b"[":
            items = msgspec.json.decode(document, type=list[msgspec.Raw])
            return msgspec.json.encode([msgspec.Raw(self._shown(bytes(item), paths, found)) for item in items])
        if first == b'"' and b"=" in document:
            return msgspec.json.encode(self.hide_text(msgspec.json.decode(document, type=str)))
        return document

    def _shown_member(self, name: str, value: bytes, paths: Sequence[Path], found: list[str] | None) -> bytes:
        if self._is_secret(name, paths):
            return msgspec.json.encode(_hidden(msgspec.json.decode(value), found))
        return self._shown(value, _behind(name, paths), found)

    def _is_secret(self, name: str, paths: Sequence[Path]) -> bool:
        if self.hides(name):
            return True
        return bool(paths) and any(len(path) == 1 and path[0] in {ANY, squeezed(name)} for path in paths)


def _rules_of(names: Sequence[str]) -> Rules:
    held = [name for name in names if name.startswith(ANY) and name.endswith(ANY)]
    ends = [name for name in names if name.startswith(ANY) and name not in held]
    beginnings = [name for name in names if name.endswith(ANY) and name not in held]
    return Rules(
        frozenset(name for name in names if ANY not in name),
        tuple(name.strip(ANY) for name in ends),
        tuple(name.strip(ANY) for name in beginnings),
        tuple(name.strip(ANY) for name in held),
    )


def _behind(name: str, paths: Sequence[Path]) -> tuple[Path, ...]:
    """What is left of the paths that begin with this name."""
    if not paths:
        return ()
    flat = squeezed(name)
    return tuple(path[1:] for path in paths if len(path) > 1 and path[0] in {ANY, flat})


def _hidden(value: Any, found: list[str] | None) -> str | None:
    """What stands for a hidden value; null stays null."""
    if value is None:
        return None
    if found is not None:
        found += _texts_of(value)
    return HIDDEN


def _texts_of(value: Any) -> Iterator[str]:
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            left += one.values()
        elif isinstance(one, list):
            left += one


def known(texts: Sequence[str]) -> KnownSecrets:
    """Hides these texts wherever they appear."""
    secrets = KnownSecrets()
    secrets.learn(texts)
    return secrets


USUALLY = Redactor()
"""Hides the usual names."""
