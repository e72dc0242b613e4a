"""Work in portions: bounded by bytes, in order, and never empty."""

from hypothesis import given
from hypothesis import strategies as st

from everpost.portions import count_fitting, portions

SIZES = st.lists(st.integers(0, 30))


@given(SIZES, st.integers(0, 50))
def test_portions_are_the_items_in_order_and_none_is_empty_or_too_large(sizes: list[int], most: int) -> None:
    found = list(portions(sizes, most, lambda size: size))
    assert [size for portion in found for size in portion] == sizes
    assert all(len(portion) == 1 or sum(portion) <= most for portion in found)
    assert all(found)


@given(SIZES, st.integers(0, 50))
def test_a_portion_is_as_large_as_it_may_be(sizes: list[int], most: int) -> None:
    count = count_fitting(sizes, most)
    assert count == len(sizes) or sum(sizes[: count + 1]) > most
