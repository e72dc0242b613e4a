"""What media a platform takes. Pure rules of the catalogue."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec
from msgspec import Meta

from everpost.errors import InvalidValue

Most = Annotated[int, Meta(ge=1)] | None
Seconds = Annotated[float, Meta(ge=0)] | None


class MediaRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a platform takes of some types of media. A limit that is None is no limit.

    Attributes:
        types: Media types, in which `*` stands for anything: `image/*`.
        files_min: The fewest files of these types in one post, and
        files_max: the most.
        bytes_max: The largest file.
        seconds_min: The shortest length, and
        seconds_max: the longest.
        width_max: The largest width in pixels, and
        height_max: height.
        alt_max: The longest description, in characters.
        alone: A post with such files has no files of other rules.
    """

    types: Annotated[tuple[str, ...], Meta(min_length=1)]
    files_min: Most = None
    files_max: Most = None
    bytes_max: Most = None
    seconds_min: Seconds = None
    seconds_max: Seconds = None
    width_max: Most = None
    height_max: Most = None
    alt_max: Most = None
    alone: bool = False

    def takes(self, content_type: str) -> bool:
        """Whether it is about this type."""
        return any(fnmatchcase(content_type, pattern) for pattern in self.types)


class NamedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a task, as far as it is known; None is not known, and passes.

    Attributes:
        path: Where the task names it, as a JSON path.
    """

    path: str
    content_type: str | None = None
    size_bytes: int | None = None
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    alt: str | None = None


def check_media(
    platform: str, rules: Sequence[MediaRule], least: int, most: int | None, files: Sequence[NamedFile]
) -> None:
    """Check the files of a task.

    Args:
        rules: A file must be of a type that one of them has; without any rule, every type passes.
        least: The fewest files.
        most: The most files.

    Raises:
        InvalidValue: There are too few or too many, or one does not fit; the error's `path` says which.
    """
    if len(files) < least:
        raise InvalidValue(f"{platform} takes no post with fewer than {least} files.", "$.files")
    if most is not None and len(files) > most:
        raise InvalidValue(f"{platform} takes at most {most} files; these are {len(files)}.", "$.files")
    counts: dict[int, int] = {}
    for file in files:
        number = _rule_for(platform, rules, file)
        if number is None:
            continue
        if (other := _excluded(rules, counts, number)) is not None:
            taken = ", ".join((rules[number] if rules[number].alone else rules[other]).types)
            raise InvalidValue(f"{platform} takes {taken} only without files of other types.", file.path)
        counts[number] = counts.get(number, 0) + 1
        _check_file(platform, rules[number], file, counts[number])
    if all(file.content_type is not None for file in files):
        _check_fewest(platform, rules, counts)


def _rule_for(platform: str, rules: Sequence[MediaRule], file: NamedFile) -> int | None:
    """The first rule about a file's type; None if no rule applies, or the type is not known."""
    if not rules or file.content_type is None:
        return None
    found = next((number for number, rule in enumerate(rules) if rule.takes(file.content_type)), None)
    if found is None:
        taken = ", ".join(each for rule in rules for each in rule.types)
        raise InvalidValue(f"{platform} does not take {file.content_type}, only {taken}.", file.path)
    return found


def _check_fewest(platform: str, rules: Sequence[MediaRule], counts: Mapping[int, int]) -> None:
    for number, rule in enumerate(rules):
        if rule.files_min is not None and counts.get(number, 0) < rule.files_min:
            wanted = f"at least {rule.files_min} of {', '.join(rule.types)}"
            raise InvalidValue(f"{platform} takes {wanted} in one post; these are {counts.get(number, 0)}.", "$.files")


def _excluded(rules: Sequence[MediaRule], counts: Mapping[int, int], number: int) -> int | None:
    """The rule of an earlier file that cannot be in one post with a file of this rule."""
    others = (other for other in counts if other != number)
    return next((other for other in others if rules[number].alone or rules[other].alone), None)


def _check_file(platform: str, rule: MediaRule, file: NamedFile, count: int) -> None:
    kind = file.content_type
    limits = (
        (count, rule.files_max, f"{kind} files in one post"),
        (file.size_bytes, rule.bytes_max, f"bytes of {kind}"),
        (file.duration_s, rule.seconds_max, f"seconds of {kind}"),
        (file.width, rule.width_max, "pixels of width"),
        (file.height, rule.height_max, "pixels of height"),
        (None if file.alt is None else len(file.alt), rule.alt_max, "characters of a description"),
    )
    for value, most, what in limits:
        if value is not None and most is not None and value > most:
            raise InvalidValue(f"{platform} takes at most {most:,} {what}; these are {value:,}.", file.path)
    if rule.seconds_min is not None and file.duration_s is not None and file.duration_s < rule.seconds_min:
        what = f"{platform} takes at least {rule.seconds_min:,} seconds of {kind}"
        raise InvalidValue(f"{what}; these are {file.duration_s:,}.", file.path)
