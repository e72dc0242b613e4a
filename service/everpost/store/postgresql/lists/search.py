"""Full-text search of ended and waiting tasks.

`publish_tasks_search` has the words of ended tasks. It is filled behind the hot path, so it lacks the newest ones, and
all waiting ones. The newest `SCANNED` rows of each are read and compared one by one.
"""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from everpost.redaction import USUALLY, Redactor
from everpost.store.lists.words import MAX_DATA_BYTES, Query, cut, texts_in
from everpost.store.postgresql.link.connection import Connection

SCANNED = 5_000
SCANNED_BYTES = 32 << 20  # of data, of these rows
FEW = 20_000  # up to so many matches are sorted; with more, each row of the list is looked up among them
MAX_WORD = 100  # characters that the index has of a word
MAX_VECTOR = 900_000  # bytes of the words in the index; PostgreSQL's limit for a tsvector is a megabyte
MOST_BYTES = 4  # of a character in UTF-8


class Hits(msgspec.Struct, frozen=True):
    """The tasks found for a query.

    Attributes:
        query: The words to find, as PostgreSQL's `tsquery`.
        phrases: Patterns for phrases that the words alone do not prove.
        indexed: The matching ended tasks that the index has; None if there are more than `FEW`.
        unsearched: The matching ones of the newest ended tasks, which the index does not have yet.
        waiting: The matching ones of the newest waiting tasks.
    """

    query: str = ""
    phrases: tuple[str, ...] = ()
    indexed: tuple[str, ...] | None = ()
    unsearched: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()

    def parameters(self) -> dict[str, Any]:
        """The parameters that a list's statement may use."""
        ids = {"hits": self.indexed or (), "unsearched": self.unsearched, "waiting": self.waiting}
        return {name: [*found] for name, found in ids.items()} | {"query": self.query, "phrases": [*self.phrases]}


async def find_hits(connection: Connection, query: Query) -> Hits:
    """The matches in the index and in the newest rows of ledger and history; see `Hits`."""
    if not query.phrases:
        return Hits()
    expression, phrases = expression_of(query), patterns_of(query)
    rows = await connection.fetch_all("find_hits", query=expression, phrases=phrases, limit=FEW + 1)
    return Hits(
        query=expression,
        phrases=tuple(phrases),
        indexed=tuple(row["job_id"] for row in rows) if len(rows) <= FEW else None,
        unsearched=await _scan(connection, "scan_unsearched", query),
        waiting=await _scan(connection, "scan_waiting", query),
    )


async def _scan(connection: Connection, statement: str, query: Query) -> tuple[str, ...]:
    """The ids of a statement's rows that match. They are compared in a thread, because there may be megabytes."""
    rows = await connection.fetch_all(statement, most=MAX_DATA_BYTES, most_in_all=SCANNED_BYTES, scanned=SCANNED)
    return await asyncio.to_thread(lambda: tuple(row["task_id"] for row in rows if _is_hit(query, *_texts_of(row))))


def _is_hit(query: Query, title: str, error: str, data: bytes) -> bool:
    raw = b"\n".join((title.encode(), error.encode(), data))
    return query.may_match(raw) and query.matches(_words_of(query.redactor, title, error, data))


def _texts_of(row: dict[str, Any]) -> tuple[str, str, bytes]:
    """A row's title, its error, and as much of its data as is compared."""
    return row["title"] or "", row["error_message"] or "", (row["data"] or "").encode()[:MAX_DATA_BYTES]


def _words_of(redactor: Redactor, title: str, error: str, data: bytes) -> str:
    title = "" if redactor.hides_member("title") else title
    return cut(title, redactor.hide_text(error), texts_in(data, redactor))


def document_of(row: dict[str, Any], redactor: Redactor = USUALLY) -> tuple[str, str]:
    """The words of a row as `publish_tasks_search` has them: with spaces, and each once as the text of a `tsvector`."""
    words = _words_of(redactor, *_texts_of(row))
    return f" {words} ", _vector_of(lexemes_of(words.split()))


def lexemes_of(words: Sequence[str]) -> list[str]:
    """What the index has of these words: each word, and each pair of neighbours that are one character long.

    The pairs make a Chinese, Japanese or Korean phrase as selective as a word.
    """
    lexemes = [word[:MAX_WORD] for word in words]
    lexemes += [f"{first} {second}" for first, second in pairwise(words) if len(first) == len(second) == 1]
    return lexemes


def _vector_of(lexemes: Iterable[str]) -> str:
    """The text of a `tsvector` with each lexeme once; without the last ones if they are more than it can have."""
    text = "' '".join(dict.fromkeys(lexemes))
    if len(text) > MAX_VECTOR // MOST_BYTES:
        head = text.encode()[:MAX_VECTOR].decode(errors="ignore")
        text = head[: head.rfind("' '")] if len(head) < len(text) else text
    return f"'{text}'" if text else ""


def expression_of(query: Query) -> str:
    """The `tsquery` that all matches fulfil; it needs a phrase. Words have no quotes in them."""
    lexemes = [f"'{lexeme}'" for phrase in query.phrases for lexeme in lexemes_of(phrase)]
    if query.open_ended:
        lexemes.append(f"'{query.phrases[-1][-1][:MAX_WORD]}':*")
        lexemes.remove(f"'{query.phrases[-1][-1][:MAX_WORD]}'")
    return " & ".join(lexemes)


def patterns_of(query: Query) -> list[str]:
    """Patterns for LIKE, of the phrases that `expression_of` does not prove to be there. Words have no wildcards."""
    last = len(query.phrases) - 1
    return [
        f"% {' '.join(phrase)}{'' if number == last and query.open_ended else ' '}%"
        for number, phrase in enumerate(query.phrases)
        if not _is_proven(phrase)
    ]


def _is_proven(phrase: Sequence[str]) -> bool:
    """Whether the index has the phrase as a whole."""
    if len(phrase) == 1:
        return len(phrase[0]) <= MAX_WORD
    return len(phrase) == 2 and len(phrase[0]) == len(phrase[1]) == 1  # noqa: PLR2004 - a pair
