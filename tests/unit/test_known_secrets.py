"""Known secrets never stay in a text, in whatever form they got there."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.known_secrets import HIDDEN, SHORTEST, KnownSecrets

CANARY = "c4n4ry+/=&é 秘密-0123456789"


def knowing(*values: str) -> KnownSecrets:
    secrets = KnownSecrets()
    secrets.learn(values)
    return secrets


@pytest.mark.parametrize(
    "form",
    [
        CANARY,
        quote(CANARY, safe=""),
        quote_plus(CANARY),
        json.dumps(CANARY)[1:-1],
        json.dumps({"a": CANARY}),
        repr(CANARY),
        f"GET /?token={quote(CANARY, safe='')}&a=b",
        *(base64.b64encode(b"user:"[:size] + CANARY.encode()).decode() for size in range(6)),
        *(base64.urlsafe_b64encode(b"u" * size + CANARY.encode() + b"tail").decode() for size in range(6)),
    ],
)
def test_a_secret_is_replaced_in_every_form(form: str) -> None:
    hidden = knowing(CANARY).hide(f"before {form} after")
    assert HIDDEN in hidden
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")
    assert "c4n4ry" not in hidden
    assert "0123456789" not in hidden
    for size in range(3):
        core = base64.b64encode(bytes(size) + CANARY.encode()).decode()[4:-4]
        assert core not in hidden


@pytest.mark.parametrize("cut", range(SHORTEST, len(CANARY)))
def test_a_secret_that_a_limit_has_cut_off_is_replaced_too(cut: int) -> None:
    secrets = knowing(CANARY)
    for text in (f"said {CANARY[:cut]}", f"said {CANARY[:cut]}…"):
        assert CANARY[:SHORTEST] not in secrets.hide(text)
    assert CANARY[-SHORTEST:] not in secrets.hide(f"{CANARY[-cut:]} was said")


def test_a_file_s_lines_and_a_document_s_values_are_secrets_too() -> None:
    key, cookies = "-----BEGIN KEY-----\nbGluZS1vbmU\nbGluZS10d28\n-----END", '{"cookies": [{"value": "sess-1234567"}]}'
    secrets = knowing(key, cookies)
    assert secrets.hide("at bGluZS10d28!") == f"at {HIDDEN}!"
    assert secrets.hide("sess-1234567") == HIDDEN


def test_short_values_are_left_because_they_are_parts_of_words() -> None:
    assert knowing("test", "1").hide("a test of 1") == "a test of 1"


def test_values_within_json_are_replaced_and_others_stay_the_same_object() -> None:
    value = {"url": f"https://x/{CANARY}", CANARY: [1, None, {"a": CANARY}], "n": 2.5}
    assert knowing(CANARY).hide_in(value) == {"url": f"https://x/{HIDDEN}", HIDDEN: [1, None, {"a": HIDDEN}], "n": 2.5}
    assert KnownSecrets().hide_in(value) is value


@given(st.text(min_size=SHORTEST), st.text(), st.text())
def test_no_text_keeps_a_secret(secret: str, before: str, after: str) -> None:
    hidden = knowing(secret).hide(f"{before}{secret}{after}")
    assert secret not in hidden or secret in HIDDEN * 99
