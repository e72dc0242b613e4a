"""The types of PostgreSQL in which the hot statements take their rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.store import Store, open_store
from everpost.store.postgresql.tasks.typed_rows import TYPES, values_of
from postgresql.kit import PostgresqlKit
from store_contract.making import accept, once_of, record_of
from store_rows import START_MS, make_task

COLUMNS = """
SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
WHERE attrelid = '{}'::regclass AND attnum > 0 AND NOT attisdropped
"""


@pytest.mark.parametrize("name", TYPES)
def test_a_type_has_the_columns_that_its_rows_have(kit: PostgresqlKit, name: str) -> None:
    ((columns,),) = kit.select(COLUMNS.format(name))
    assert tuple(columns) == TYPES[name]


@given(st.lists(st.none() | st.integers() | st.text("\0\ufffda", max_size=3)))
def test_of_a_text_with_nul_only_nul_is_replaced(values: list[str | int | None]) -> None:
    names = [str(number) for number in range(len(values))]
    row = dict(zip(names, values, strict=True))
    assert values_of(row, names) == tuple(
        value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in values
    )


async def test_types_that_were_made_anew_are_learned_by_open_connections(
    store: Store, kit: PostgresqlKit, address: str
) -> None:
    """A restored dump makes tables and types anew, with other numbers. Its database has the same name."""
    await accept(store, "before")
    assert await store.ledger.begin_send("before", 1, START_MS)
    assert await store.ledger.end([record_of("before")]) == []
    kit.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await (await open_store(address)).close()
    await accept(store, "after")
    assert await store.ledger.accept([make_task("with key")], START_MS, once_of()) is None
    assert await store.ledger.begin_send("after", 1, START_MS)
    assert await store.ledger.end([record_of("after")]) == []
    assert (await store.history.find_task("after")) is not None
