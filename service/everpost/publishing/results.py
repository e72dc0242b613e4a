"""A publisher's result, and the part of it that is kept with the task."""

from typing import Any

import msgspec

from everpost.printable import is_printable, printable
from everpost.publishing.plain import plain
from everpost.publishing.trace import storable_text

UNPRINTABLE = "unprintable"
CUT = "cut"
LONGEST_REFUSED = 2_000  # characters kept of a refused id or address
MOST_DETAIL_BYTES = 65_536  # of JSON
MARKED_BYTES = 6_144  # of these, reserved for notes about an id, an address and what was cut
LONGEST = {"provider_post_id": 1_000, "publish_url": 4_096}  # characters
CUTTABLE = ("detail", *LONGEST)


class PublishResult(msgspec.Struct, frozen=True, kw_only=True):
    """The platform's answer to a post; kept with the task.

    Attributes:
        provider_post_id: The platform's own id of the post; 1,000 characters are kept.
        publish_url: Where the post can be seen; 4,096 characters are kept.
        detail: Anything else worth keeping, JSON-ready; about 60 KB of JSON are kept.
    """

    provider_post_id: str | None = None
    publish_url: str | None = None
    detail: dict[str, Any] = msgspec.field(default_factory=dict)

    def storable(self, **more_detail: str) -> "PublishResult":
        """A copy that can always be stored, whatever the publisher put into it: the post is already published.

        An id or address with characters that control a terminal or are invisible is dropped, because people copy and
        click these. It becomes None, and `detail` has the escaped text under `UNPRINTABLE`. Values that are too large
        are cut, and `detail` names them under `CUT`.

        Args:
            more_detail: Added to `detail`; existing names win.
        """
        if _tells_nothing(self):
            return PublishResult(detail={**more_detail})
        refused: dict[str, str] = {}
        detail, cut = _plain_detail(self)
        texts = {name: _text(self, name, cut, refused) for name in LONGEST}
        marks: dict[str, Any] = {UNPRINTABLE: refused} if refused else {}
        if cut:
            marks[CUT] = list(cut)
        return PublishResult(
            provider_post_id=texts["provider_post_id"],
            publish_url=texts["publish_url"],
            detail={**more_detail, **detail, **marks},
        )


def _tells_nothing(result: PublishResult) -> bool:
    if type(result) is not PublishResult or type(result.detail) is not dict:
        return False
    return not result.detail and result.provider_post_id is None and result.publish_url is None


def checked_result(returned: object) -> PublishResult:
    """Check what a publisher returned.

    Raises:
        TypeError: It is not a result, so it says nothing about the post.
    """
    if issubclass(type(returned), PublishResult):  # isinstance would ask the object's own `__class__`
        return returned  # type: ignore[return-value]  # it was checked in the line above
    raise TypeError(f"publish() returned {type(returned).__name__}, which is no PublishResult")


def _plain_detail(result: PublishResult) -> tuple[dict[str, Any], dict[str, None]]:
    """The detail to keep, and the names of what was cut, in order. A cell may already have cut some."""
    try:
        given = result.detail
        marked = dict.get(given, CUT) if type(given) is dict else None
        cut = dict.fromkeys(name for name in CUTTABLE if type(marked) is list and name in marked)
        detail, was_cut = plain(given, MOST_DETAIL_BYTES - (0 if cut else MARKED_BYTES))
    except BaseException:  # noqa: BLE001 - foreign code may raise anything, and nothing awaits; the post is published
        detail, was_cut, cut = None, True, {}
    if was_cut:
        cut["detail"] = None
    return detail if isinstance(detail, dict) else {} if detail is None else {"detail": detail}, cut


def _text(result: PublishResult, name: str, cut: dict[str, None], refused: dict[str, str]) -> str | None:
    """The id or address to keep. Adds its name to `cut` if it was shortened, or its text to `refused`."""
    longest = LONGEST[name]
    try:
        given = getattr(result, name)
        text = None if given is None else storable_text(str.__getitem__(str(given), slice(longest + 1))).strip()
    except BaseException as error:  # noqa: BLE001 - as above
        refused[name] = f"str() failed: {type(error).__name__}"
        return None
    if text is not None and len(text) > longest:
        cut[name] = None
        text = text[:longest]
    if text is not None and not is_printable(text):
        refused[name] = printable(text)[:LONGEST_REFUSED]
        return None
    return text
