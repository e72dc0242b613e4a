"""What the list of hidden names hides, and what it leaves as it is."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.errors import SettingsError
from everpost.redaction import USUALLY, Redactor
from everpost.settings import read_settings
from everpost.store.lists import words

SECRET = "s3cr3t-value"
LARGE = words.MAX_DATA_BYTES


def shown(redactor: Redactor, value: Any) -> Any:
    return msgspec.json.decode(redactor.hide_json(msgspec.json.encode(value)))


@pytest.mark.parametrize(
    "name",
    ["password", "PassWord", "db_password", "accessToken", "Api-Key", "client_secret", "Authorization", "cookies"],
)
def test_the_usual_names_are_hidden_in_every_spelling_and_depth(name: str) -> None:
    value = {"a": [{"b": {name: SECRET, "kept": 1}}]}
    assert shown(USUALLY, value) == {"a": [{"b": {name: "***", "kept": 1}}]}
    assert USUALLY.texts_in(value) == [SECRET]


def test_hidden_texts_are_found_at_each_place_among_names_that_are_known_as_plain() -> None:
    plain = {"a": [[{"b": 1}]], "c": {"d": [{"e": 1}], "f": {}}}
    assert [USUALLY.texts_in(plain) for _ in range(2)] == [[], []]
    hidden = {"password": SECRET, "b": 1}
    places: list[dict[str, Any]] = [
        {"a": [[hidden]]},
        {"c": {"d": [hidden]}},
        {"c": {"f": hidden}},
        {"a": [1, hidden, []]},
        hidden,
    ]
    assert [USUALLY.texts_in(place) for place in places] == [[SECRET]] * len(places)


@pytest.mark.parametrize("name", ["title", "tokens_used", "secretary", "passwords_hint", "platform", "author"])
def test_names_that_only_resemble_them_are_shown(name: str) -> None:
    assert shown(USUALLY, {name: "x"}) == {name: "x"}


def test_whole_objects_and_lists_are_hidden_and_null_is_not() -> None:
    value = {"credentials": {"user": "u", "all": ["one-long-text"]}, "token": None}
    assert shown(USUALLY, value) == {"credentials": "***", "token": None}
    assert sorted(USUALLY.texts_in(value)) == ["one-long-text", "u"]


def test_paths_begin_at_the_data_and_pass_through_lists() -> None:
    redactor = Redactor.read("contacts.phone, *.street, deep.*.key")
    value = {
        "contacts": [{"phone": "1", "name": "n"}, {"x": {"phone": "2"}}],
        "phone": "3",
        "home": {"street": "4", "town": "t"},
        "deep": {"one": {"key": "5"}, "key": "6"},
    }
    assert shown(redactor, value) == {
        "contacts": [{"phone": "***", "name": "n"}, {"x": {"phone": "2"}}],
        "phone": "3",
        "home": {"street": "***", "town": "t"},
        "deep": {"one": {"key": "***"}, "key": "6"},
    }
    assert sorted(redactor.texts_in(value)) == ["1", "4", "5"]


def test_a_name_may_be_shown_again_and_all_of_them() -> None:
    value = {"page_token": "t", "password": "p"}
    assert shown(Redactor.read("!*token"), value) == {"page_token": "t", "password": "***"}
    assert shown(Redactor.read("!*, page_token"), value) == {"page_token": "***", "password": "p"}


@pytest.mark.parametrize("setting", ["a..b", "a b", "to*ken", "*", "!", "a.!b"])
def test_an_entry_that_is_neither_a_name_nor_a_path_stops_the_start(setting: str) -> None:
    with pytest.raises(SettingsError, match=r"EVERPOST_REDACT: .* is neither a name nor a path"):
        read_settings({"EVERPOST_REDACT": setting})


def test_parameters_of_addresses_are_hidden_in_texts() -> None:
    value = {"url": f"https://h.example/p?access_token={SECRET}&page=2", "text": "a=b, token=c"}
    assert shown(USUALLY, value) == {"url": "https://h.example/p?access_token=***&page=2", "text": "a=b, token=c"}


def test_what_is_shown_keeps_its_bytes() -> None:
    document = b'{"id": 123456789012345678901234567890, "n": {"f": 1.0e2}, "password": "x", "s": "\\u6d4b"}'
    hidden = USUALLY.hide_json(document)
    assert b"123456789012345678901234567890" in hidden
    assert b'{"f": 1.0e2}' in hidden
    assert b'"\\u6d4b"' in hidden
    assert USUALLY.hide_json(b'{"a" : 1}') == b'{"a" : 1}'


def test_a_member_that_comes_twice_is_hidden_each_time() -> None:
    document = f'{{"a": {{"password": "{SECRET}"}}, "a": {{}}}}'.encode()
    assert SECRET.encode() not in USUALLY.hide_json(document)


def test_an_escaped_name_is_hidden() -> None:
    assert SECRET.encode() not in USUALLY.hide_json(b'{"p\\u0061ssword": "s3cr3t-value"}')


def test_bytes_that_are_not_json_are_hidden_if_they_may_name_a_secret() -> None:
    assert USUALLY.hide_json(b'{"password": "s3cr') == b'"***"'
    assert USUALLY.hide_json(b"just text {") == b"just text {"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(JSON, JSON)
def test_everything_else_stays_as_it_is(value: Any, secret: Any) -> None:
    redactor = Redactor.read("!*, kept_apart, one.path")
    document = {"kept_apart": secret, "one": {"path": secret, "a": value}, "b": [value]}
    hidden = None if secret is None else "***"
    assert shown(redactor, document) == {"kept_apart": hidden, "one": {"path": hidden, "a": value}, "b": [value]}


def test_a_patch_with_a_value_as_it_was_shown_leaves_the_value_alone() -> None:
    patch = {"title": "new", "token": "***", "login": {"password": "***", "user": "u"}, "cookie": "changed"}
    assert USUALLY.without_hidden(patch) == {"title": "new", "login": {"user": "u"}, "cookie": "changed"}
    with pytest.raises(ValueError, match="list accounts"):
        USUALLY.without_hidden({"accounts": [{"password": "***"}]})


def test_a_search_does_not_find_what_is_hidden() -> None:
    value = {"title": "before", "auth": {"token": SECRET, "deep": {"password": [SECRET, {"x": SECRET}]}}, "end": "last"}
    found = words.texts_in(msgspec.json.encode(value))
    assert (SECRET in found, "before" in found, "last" in found) == (False, True, True)


@pytest.mark.parametrize("hidden", ['"s3cr3t-value"', '["s3cr3t-value", {"b": "s3cr3t-value"}]', "17", "null", "true"])
def test_a_search_does_not_find_it_in_long_data_either(hidden: str) -> None:
    document = f'{{"before": "one", "password": {hidden}, "after": "two", "filling": "{"x " * LARGE}"}}'.encode()
    found = words.texts_in(document)
    assert found.startswith("one\ntwo\n")
