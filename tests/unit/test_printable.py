"""What is shown of texts that others wrote: nothing acts on a terminal, reorders or hides, and JSON stays exact."""

import json
import logging
import unicodedata
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from everpost.cli.output import as_json_text
from everpost.errors import SettingsError
from everpost.logs import configure_logging
from everpost.printable import is_printable, printable, printable_json, printable_lines
from everpost.queue.pool import connection_pool
from everpost.redis_address import shown_address
from everpost.settings import Settings

VISIBLE_FORMATS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Signs of Arabic, Syriac and Kaithi that stand before digits: of Unicode's category Cf, and seen."""
BIDI_CONTROLS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "BN"})
BLANK_LETTERS = "\u115f\u1160\u3164\uffa0\u034f\u17b4\u17b5\ufe00\U000e0100"
HOSTILE = "\x1b]52;c;cHduZWQ=\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\u2028\u2029\u200b\ufeff\r\n\x00\x7f\udc80\U000e0041"

texts = st.text(st.characters(exclude_categories=())) | st.text(
    st.sampled_from(HOSTILE + BLANK_LETTERS + "a测👩❤\u200d\ufe0f")
)


def acts_or_hides(character: str) -> bool:
    if character in VISIBLE_FORMATS:
        return False
    category = unicodedata.category(character)
    return (
        category in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        or unicodedata.bidirectional(character) in BIDI_CONTROLS
        or character in BLANK_LETTERS
    )


@given(texts)
def test_nothing_that_is_shown_acts_or_hides(text: str) -> None:
    assert not any(map(acts_or_hides, printable(text)))
    assert printable(printable(text)) == printable(text)


@given(texts)
def test_a_text_that_does_nothing_is_shown_as_it_is(text: str) -> None:
    harmless = "".join(character for character in text if not acts_or_hides(character) and character != "\ufe0f")
    if not any("\ufe00" <= character <= "\ufe0f" for character in harmless):
        assert is_printable("".join(c for c in harmless if printable(c) == c))


def test_every_character_of_unicode_is_shown_or_escaped() -> None:
    shown = {chr(code) for code in range(0x110000) if is_printable(chr(code))}
    assert not [hex(ord(character)) for character in shown if acts_or_hides(character)]
    assert set("aZ 测试視频éñ한국어日本語عربيعִבְרִית👩❤🏽️"[:-1]) <= shown


def test_invisible_characters_are_shown_as_escapes() -> None:
    assert printable("a\x1b[31mb\x9b\u202e\n\U000e0041\udc80") == r"a\x1b[31mb\x9b\u202e\n\U000e0041\udc80"
    assert printable_lines("a\nb\rc") == "a\nb\\rc"


def test_emoji_that_are_glued_together_are_shown_side_by_side() -> None:
    assert printable("👩\u200d👧 ❤\ufe0f 1\ufe0f\u20e3") == "👩👧 ❤ 1\u20e3"
    assert printable("ad\u200dmin") == r"ad\u200dmin"


@given(st.dictionaries(texts, texts | st.integers()))
def test_json_for_a_terminal_means_the_same(value: dict[str, object]) -> None:
    document = json.dumps(value, indent=2, ensure_ascii=False)
    shown = printable_json(document)
    assert json.loads(shown) == value
    assert not any(map(acts_or_hides, shown.replace("\n", "")))


def test_json_answers_are_exact_and_act_on_nothing() -> None:
    hostile = HOSTILE.replace("\udc80", "")
    shown = as_json_text({"title": hostile})
    assert json.loads(shown) == {"title": hostile}
    assert not any(map(acts_or_hides, shown.replace("\n", "")))


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield capsys
    root.handlers[:], root.level = before[0], before[1]
    structlog.reset_defaults()


def fail() -> None:
    raise ValueError(f"{HOSTILE}\n2026-01-01T00:00:00Z [info] forged")


def log_everything(form: str) -> None:
    configure_logging(Settings(log_format=form))
    log = structlog.get_logger("everpost.test_printable")
    log.warning(
        "task.hostile",
        title=HOSTILE,
        many=[HOSTILE, {"x": HOSTILE}],
        ids={HOSTILE},
        raw=HOSTILE.encode("utf-8", "replace"),
    )
    logging.getLogger("everpost.test_printable").warning("job %s failed", HOSTILE)
    try:
        fail()
    except ValueError:
        log.exception("task.crashed", error=HOSTILE)
        logging.getLogger("everpost.test_printable").exception("crashed %s", HOSTILE)


def test_no_field_and_no_traceback_of_a_console_log_acts_or_forges_a_line(logged: pytest.CaptureFixture[str]) -> None:
    log_everything("console")
    lines = logged.readouterr().err.splitlines()
    assert not [line for line in lines if any(map(acts_or_hides, line))]
    heads = [line for line in lines if line and not line.startswith("  ")]
    assert len(heads) == 4
    assert not any("forged" in head for head in heads)


def test_json_logs_are_escaped_and_exact(logged: pytest.CaptureFixture[str]) -> None:
    log_everything("json")
    lines = logged.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert json.loads(lines[0])["title"] == HOSTILE


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://:p@ss@host:6379/0", "redis://***@host:6379/0"),
        ("rediss://user:pass@host/1", "rediss://***@host/1"),
        ("rediss://user:pass@[::1]:6379/1", "rediss://***@[::1]:6379/1"),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://h/1?password=pass", "redis://h/1?password=***"),
        ("redis://h/1?db=2&password=pass&username=user", "redis://h/1?db=2&password=***&username=***"),
        ("redis://h/1?password=pass&word", "redis://h/1?password=***&***=***"),
        ("unix://user:pass@/run/redis.sock?db=1", "unix://***@/run/redis.sock?db=1"),
        ("unix:///run/redis.sock?password=pass", "unix:///run/redis.sock?password=***"),
        ("redis://:pa/ss@host/0", "redis://***"),
        ("redis://:pa?ss@host/0", "redis://***"),
        ("redis://:pa#ss@host/0", "redis://***"),
        ("pass@host", "***"),
    ],
)
def test_an_address_of_redis_is_shown_without_its_secrets(address: str, shown: str) -> None:
    assert shown_address(address) == shown


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=9))
def test_no_form_of_a_password_is_shown(password: str) -> None:
    for address in (f"redis://:{password}@h/0", f"redis://h/0?password={password}", f"unix:///s?password={password}"):
        assert password not in shown_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "redis://:secret/word@h/0",
        "redis://h:secret/0",
        "redis://h/0?socket_timeout=secret",
        "redis://h/0?secret=word",
        "redis://[secret/0",
        "secret@h",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_being_shown(address: str) -> None:
    with pytest.raises(SettingsError, match="EVERPOST_REDIS cannot be read") as refused:
        connection_pool(address)
    assert "secret" not in refused.value.message
