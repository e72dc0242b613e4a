"""NDJSON is cut into the same lines however it is cut into chunks."""

from hypothesis import given
from hypothesis import strategies as st

from everpost.api.batch.lines import LineReader

LIMIT = 20

texts = st.lists(st.sampled_from([b"a", b"\n", b" ", b"\r\n", b"b" * LIMIT, b"c" * (LIMIT + 1)])).map(b"".join)


def read(chunks: list[bytes]) -> list[bytes | None]:
    reader = LineReader(LIMIT)
    lines = [line for chunk in chunks for line in reader.feed(chunk)]
    return [*lines, *reader.end()]


def expected(text: bytes) -> list[bytes | None]:
    lines = [None if len(line) > LIMIT else line.strip() for line in text.split(b"\n")]
    return [line for line in lines if line != b""]


@given(texts, st.lists(st.integers(min_value=1, max_value=30)))
def test_lines_do_not_depend_on_where_the_stream_was_cut(text: bytes, sizes: list[int]) -> None:
    chunks, rest = [], text
    for size in sizes:
        chunks.append(rest[:size])
        rest = rest[size:]
    assert read([*chunks, rest]) == expected(text)


def test_a_line_without_end_is_not_kept() -> None:
    reader = LineReader(LIMIT)
    for _ in range(1_000):
        assert list(reader.feed(b"x" * LIMIT)) == []
        assert len(reader._rest) <= LIMIT
    assert list(reader.feed(b"\nok\n")) == [None, b"ok"]
