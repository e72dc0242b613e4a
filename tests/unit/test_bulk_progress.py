"""How far bulk work has come is never more than all of it."""

from hypothesis import given
from hypothesis import strategies as st

from everpost.actions.bulk.request import answer_of
from everpost.store.operations import Operation, OperationStatus


@given(total=st.integers(0, 50_000), done=st.integers(0, 50_000), status=st.sampled_from(OperationStatus))
def test_no_more_is_done_than_there_is(total: int, done: int, status: OperationStatus) -> None:
    """Tasks that come to match after the count are done too: progress once showed 28,441 of 28,346."""
    operation = Operation(
        operation_id="o",
        kind="retry",
        request="{}",
        status=status,
        total=total,
        done=done,
        owner=None,
        created_at="2026-01-01T00:00:00.000Z",
        updated_at="2026-01-01T00:00:00.000Z",
    )
    answer = answer_of(operation)
    assert answer.done == done
    assert answer.total == max(total, done)
