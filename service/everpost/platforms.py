"""The platform catalogue: which platforms there are, what they are called, and which publisher posts to each."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from everpost.errors import InvalidValue, SettingsError, UnknownPlatform
from everpost.limits import NO_LIMITS, Limits
from everpost.media_rules import MediaRule
from everpost.settings import MOST_S
from everpost.text_lengths import Counting, length_of, total_of_tags

BUILT_IN = Path(__file__).with_name("platforms.toml")
CALLBACK = "callback"  # the platform of callbacks
UNITS = {Counting.BYTES: "bytes", Counting.UTF16: "UTF-16 units"}
SHOWN_CHARACTERS = 64  # of an unknown platform, in the error
LAST_ORIGINAL = 5  # the highest id of the original system; platforms after it were added later, and make room

Limit = Annotated[int, Meta(ge=1)] | None
PlatformName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,63}\Z")]
"""It begins with a letter, to differ from an id, and is safe in a path, because publishers name folders after it."""


class Platform(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A platform that tasks are published to. Its repr has no options, because they may hold secrets.

    Attributes:
        id: The number clients may send instead of the name.
        name: What tasks store, and the key of the TOML table.
        title: The name people see; if empty, `name`.
        aliases: Other names clients may send.
        publisher: An entry point in the group `everpost.publishers`.
        max_attempts: Automatic attempts for transient errors; None takes `EVERPOST_MAX_ATTEMPTS`.
        backoff_base_s: The longest wait in seconds after the first transient error; it doubles with each further one,
        backoff_max_s: up to this.
        rate_limit_deadline_s: Seconds a task may be paused for rate limits in all; then it fails.
        needs_account: Tasks must name a registered account; None leaves that to the publisher.
        late_after_s: A task that cannot begin so many seconds after its time fails as missed, unless it has its own
            limit; None is no limit.
        title_min: Shortest title, counted as `title_counting` says.
        title_max: Longest title; None is no limit.
        description_max: Longest description, counted as `description_counting` says; None is no limit.
        text_max: Longest text of a post, counted as `text_counting` says: its field `text`, or title and description
            with a blank line between; None is no limit.
        tags_max: The most tags; None is no limit.
        tag_max: Longest tag in characters; None is no limit.
        tags_total_max: Most characters of all tags together, as YouTube counts them; None is no limit.
        media: What media it takes; without any, it takes everything.
        media_min: The fewest files of a post.
        media_max: The most files of a post; None is no limit.
        fields: Fields of a task that its publisher reads, besides those of all tasks; `*` is every field.
        duplicate_window_s: Seconds within which an account does not get the same content again; None is no limit.
        duplicate_ignores: Fields of tasks that are not content, beside those that `task/duplicate_rules.py` names.
        limits: Those of the platform as a whole, and
        account_limits: those of each of its accounts; people can change both at run time.
        options: Passed to the publisher unchanged.
        internal: Everpost's own: clients cannot post to it, and lists of platforms leave it out.
    """

    id: Annotated[int, Meta(ge=1)]
    name: PlatformName
    title: str = ""
    aliases: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    publisher: Annotated[str, Meta(min_length=1)]
    max_attempts: Annotated[int, Meta(ge=1, le=100)] | None = None
    backoff_base_s: Annotated[float, Meta(gt=0, le=MOST_S)] = 2
    backoff_max_s: Annotated[float, Meta(gt=0, le=MOST_S)] = 600
    rate_limit_deadline_s: Annotated[float, Meta(ge=1, le=MOST_S)] = 86_400
    needs_account: bool | None = None
    late_after_s: Annotated[float, Meta(gt=0, le=MOST_S)] | None = None
    title_min: Annotated[int, Meta(ge=0)] = 0
    title_max: Limit = None
    title_counting: Counting = Counting.CHARACTERS
    description_max: Limit = None
    description_counting: Counting = Counting.CHARACTERS
    text_max: Limit = None
    text_counting: Counting = Counting.CHARACTERS
    tags_max: Limit = None
    tag_max: Limit = None
    tags_total_max: Limit = None
    media: tuple[MediaRule, ...] = ()
    media_min: Annotated[int, Meta(ge=0)] = 0
    media_max: Limit = None
    fields: tuple[str, ...] = ()
    duplicate_window_s: Annotated[float, Meta(gt=0, le=MOST_S)] | None = None
    duplicate_ignores: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    account_limits: Limits = NO_LIMITS
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    internal: bool = False

    def __repr__(self) -> str:
        return f"Platform(id={self.id}, name={self.name!r}, publisher={self.publisher!r})"

    def check(self, title: str | None, description: str | None, tags: Sequence[object] | None) -> None:
        """Check a task against the platform's limits; None passes.

        Raises:
            InvalidValue: A value is too long; the error's `path` says which.
        """
        if self.title_max is not None or self.title_min:
            self._check_text("title", title, self.title_max, self.title_counting)
        if self.description_max is not None:
            self._check_text("description", description, self.description_max, self.description_counting)
        if tags:
            self._check_tags(tags)

    def check_text(self, data: Mapping[str, Any]) -> None:
        """Check the text of a post for a platform that has one text; the tags that it may get are not counted.

        Raises:
            InvalidValue: It is too long; the error's `path` says which field is.
        """
        if self.text_max is None:
            return
        texts = {name: value for name in ("text", "title", "description") if isinstance(value := data.get(name), str)}
        if text := texts.get("text", "").strip():
            self._check_text("text", text, self.text_max, self.text_counting)
            return
        title, description = texts.get("title", "").strip(), texts.get("description", "").strip()
        whole = "\n\n".join(part for part in (title, description) if part)
        self._check_text("description" if description else "title", whole, self.text_max, self.text_counting)

    @property
    def has_media_rules(self) -> bool:
        """Whether the files of a task must be looked at before it is accepted."""
        return bool(self.media or self.media_min or self.media_max)

    def describe(self) -> dict[str, Any]:
        """The platform as JSON-ready values, without the options."""
        shown = msgspec.structs.asdict(self)
        del shown["options"], shown["internal"]
        return shown | {"title": self.title or self.name}

    def _check_text(self, field: str, text: str | None, limit: int | None, counting: Counting) -> None:
        if text is None:
            return
        length, unit = length_of(text, counting), UNITS.get(counting, "characters")
        if limit is not None and length > limit:
            raise InvalidValue(f"{self.name} takes at most {limit} {unit}; these are {length}.", f"$.{field}")
        if field == "title" and limit == self.title_max and length < self.title_min:
            raise InvalidValue(f"{self.name} takes at least {self.title_min} {unit}; these are {length}.", "$.title")

    def _check_tags(self, tags: Sequence[object]) -> None:
        if self.tags_max is not None and len(tags) > self.tags_max:
            raise InvalidValue(f"{self.name} takes at most {self.tags_max} tags; these are {len(tags)}.", "$.tags")
        texts = [tag for tag in tags if isinstance(tag, str)]
        for number, tag in enumerate(texts):
            if self.tag_max is not None and len(tag) > self.tag_max:
                told = f"{self.name} takes tags of at most {self.tag_max} characters; this has {len(tag)}."
                raise InvalidValue(told, f"$.tags[{number}]")
        if self.tags_total_max is not None and (total := total_of_tags(texts)) > self.tags_total_max:
            told = f"{self.name} takes at most {self.tags_total_max} characters of tags; these are {total}."
            raise InvalidValue(told, "$.tags")


class Catalogue:
    """The platforms, found by id, name or alias with one dictionary look-up.

    Iteration is in order of ids, over the platforms that clients can post to.

    Attributes:
        limits: Those of all platforms together.
        callback_options: The options of callbacks.

    Raises:
        SettingsError: Two platforms share an id, name or alias.
    """

    def __init__(self, platforms: Iterable[Platform], limits: Limits = NO_LIMITS) -> None:
        self.limits = limits
        self._platforms = tuple(sorted(platforms, key=lambda platform: platform.id))
        self._by_id = {platform.id: platform for platform in self._platforms}
        self._by_text: dict[str, Platform] = {}
        for platform in self._platforms:
            for text in self.spellings(platform):
                other = self._by_text.setdefault(text.casefold(), platform)
                if other is not platform:
                    raise SettingsError(f"platforms.{platform.name}: {text!r} is platforms.{other.name} already.")
        callback = self._by_text.get(CALLBACK)
        self.callback_options: Mapping[str, Any] = {} if callback is None else callback.options
        self._known = ", ".join(f"{platform.name} ({platform.id})" for platform in self)

    @classmethod
    def read(cls, path: Path | None = None) -> "Catalogue":
        """The built-in catalogue, with the TOML file at `path` laid over it, field by field.

        `options` counts as one field: options in the file replace all built-in ones. A platform of the file that has
        the id, name or alias of a built-in one replaces it, except for the five of the original system.

        Raises:
            SettingsError: The file cannot be read, or has a mistake; the message names file and key.
        """
        tables, _ = _read_tables(BUILT_IN)
        if path is None:
            return cls(_platform(BUILT_IN, name, table) for name, table in tables.items())
        own, limits = _read_tables(path)
        tables = {name: table for name, table in tables.items() if name in own or not _makes_room(name, table, own)}
        for name, table in own.items():
            tables[name] = {**tables.get(name, {}), **table}
        platforms = [_platform(path, name, table) for name, table in tables.items()]
        try:
            return cls(platforms, limits)
        except SettingsError as error:
            raise SettingsError(f"{path}: {error.message}") from error

    def find(self, value: int | str) -> Platform:
        """The platform with this id (a number, or its digits), name or alias (in upper or lower case).

        Raises:
            UnknownPlatform: No platform has this id or name, or the value is neither an int nor a str. A bool does not
                count as an int.
        """
        found = None
        if isinstance(value, str):
            found = self._by_text.get(value) or self._by_text.get(value.casefold())
        elif type(value) is int:
            found = self._by_id.get(value)
        if found is None:
            shown = value[:SHOWN_CHARACTERS] if isinstance(value, str) else value
            raise UnknownPlatform(shown, self._known)
        return found

    def find_public(self, value: int | str) -> Platform:
        """As `find`, for tasks of clients.

        Raises:
            UnknownPlatform: See `find`; also for a platform of Everpost's own.
        """
        platform = self.find(value)
        if platform.internal:
            raise UnknownPlatform(value, self._known)
        return platform

    @property
    def all(self) -> Sequence[Platform]:
        """Every platform, also Everpost's own."""
        return self._platforms

    def name_of(self, spelling: str) -> str:
        """The platform's name for a spelling stored in a row; the spelling itself if the catalogue does not know it."""
        try:
            return self.find(spelling).name
        except UnknownPlatform:
            return spelling

    @staticmethod
    def spellings(platform: Platform) -> tuple[str, ...]:
        """Every text that a stored `platform` column may use for it: the name, then the id, then the aliases."""
        return tuple(dict.fromkeys((platform.name, str(platform.id), *platform.aliases)))

    def __iter__(self) -> Iterator[Platform]:
        return (platform for platform in self._platforms if not platform.internal)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _read_tables(path: Path) -> tuple[dict[str, dict[str, Any]], Limits]:
    """The tables of the platforms by name, and the limits of all together."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # from TOML or UTF-8
        raise SettingsError(f"{path}: is not valid TOML: {error}.") from error
    for key in document:
        if key not in {"platforms", "limits"}:
            raise SettingsError(f"{path}: {key}: unknown; every table is named [platforms.NAME], or [limits].")
    tables = document.get("platforms", {})
    if not isinstance(tables, dict):
        raise SettingsError(f"{path}: platforms: must hold one table per platform, [platforms.NAME].")
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: platforms.{name}: must be a table, [platforms.{name}].")
    try:
        return tables, msgspec.convert(document.get("limits", {}), Limits)
    except msgspec.ValidationError as error:
        message, _, field = str(error).partition(" - at `$")
        raise SettingsError(f"{path}: limits{field.rstrip('`')}: {message}.") from error


def _makes_room(name: str, table: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a built-in platform is left out, because a user's file has another of its id, name or alias.

    Such a file was valid before the platform was added.
    """
    if table["id"] <= LAST_ORIGINAL or table.get("internal"):
        return False
    taken: set[str] = set()
    for own_name, own_table in own.items():
        aliases = own_table.get("aliases")
        listed = aliases if isinstance(aliases, list) else []
        taken.update(str(text).casefold() for text in (own_name, own_table.get("id"), *listed))
    return not taken.isdisjoint(text.casefold() for text in (name, str(table["id"]), *table.get("aliases", ())))


def _platform(path: Path, name: str, table: Mapping[str, Any]) -> Platform:
    if "name" in table:
        raise SettingsError(f"{path}: platforms.{name}.name: unknown; the table's own name is the platform's.")
    try:
        return msgspec.convert({**table, "name": name}, Platform)
    except msgspec.ValidationError as error:
        message, _, field = str(error).partition(" - at `$")
        raise SettingsError(f"{path}: platforms.{name}{field.rstrip('`')}: {message}.") from error
