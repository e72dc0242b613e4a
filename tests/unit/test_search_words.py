"""How texts and queries are cut into words."""

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from everpost.store.lists import words
from everpost.store.lists.words import MAX_QUERY_CHARACTERS, cut, read_query, texts_in, words_of


@given(st.text(max_size=60), st.text(max_size=MAX_QUERY_CHARACTERS))
def test_a_text_is_found_by_each_of_its_words_and_any_query_can_be_read(text: str, typed: str) -> None:
    words = cut(text)
    for word in words_of(text):
        assert read_query(word).matches(words) or not words_of(word)
    query = read_query(typed)
    assert query.matches(cut(typed)) or not query.phrases


@given(st.text(max_size=80))
def test_cutting_words_again_changes_nothing(text: str) -> None:
    once = cut(text)
    assert cut(once) == once


@given(st.text(st.characters(codec="ascii")))
def test_plain_ascii_is_cut_as_it_is_beside_other_text(text: str) -> None:
    assert words_of(text) == words_of(f"{text} 中")[:-1]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_the_texts_of_data_that_is_cut_off_are_those_of_whole_data(value: object) -> None:
    data = msgspec.json.encode([value])
    head = "\n".join(words._texts_of_head(data))
    assert head == texts_in(data)


typed = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("aB1 测试。“…_K①ー゛\u0301\u017f\uff05\uff0c\uff08")
)


@given(typed, typed.filter(lambda text: len(text) <= MAX_QUERY_CHARACTERS))
def test_no_task_is_ruled_out_at_a_glance_that_would_be_found(text: str, typed: str) -> None:
    for data in (msgspec.json.encode({"a": text}), json.dumps({"a": text}).encode(), text.encode()):
        for query in (read_query(typed), *map(read_query, words_of(text)[:5])):
            assert query.may_match(data) or not query.matches(cut(texts_in(data)))


def test_a_character_of_plain_text_is_a_word_or_none() -> None:
    for character in filter(words._PLAIN.fullmatch, map(chr, range(0x80, 0x10000))):
        assert words_of(f"a{character}") in (["a", character], ["a"]), character
