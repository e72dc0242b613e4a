"""How the parameters of a statement are numbered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.store.postgresql.link.statements import Sql, Statement, numbered, statement
from everpost.store.postgresql.queries import statements


def test_a_name_is_one_parameter_however_often_it_comes() -> None:
    read = numbered("SELECT :b::text, :a, x[1: 2] FROM t WHERE b = :b AND c = :a::bigint")
    assert read == Statement("SELECT $1::text, $2, x[1: 2] FROM t WHERE b = $1 AND c = $2::bigint", ("b", "a"))


@given(st.text(st.characters(exclude_characters="'\0"), max_size=20))
def test_what_is_in_texts_names_and_comments_is_no_parameter(text: str) -> None:
    line = " ".join(text.replace('"', "").split())
    for quoted in (f"'{text}:x'''", f'"{line}:x"', f"-- {line} :x\n", f"/* {line.replace('*', '')} :x */"):
        assert numbered(f"SELECT {quoted} :y").text == f"SELECT {quoted} $1"
    body = text.replace("$", "")
    assert numbered(f"DO $a${body} :x $a$ :y").text == f"DO $a${body} :x $a$ $1"


def test_every_statement_of_the_store_is_read() -> None:
    for name in statements():
        text, names = statement(name)
        assert f"${len(names) + 1}" not in text
        assert (f"${len(names)}" in text) == bool(names)


def test_a_composed_statement_is_told_from_a_name() -> None:
    assert statement(Sql("SELECT :a")).parameters == ("a",)
    with pytest.raises(KeyError):
        statement("SELECT :a")
