"""The trace contexts of tasks: kept once, found together, destroyed with their tasks."""

from everpost.pace import Pace
from everpost.store import Store
from everpost.store.traces import TaskTrace
from store_contract.making import add_ended
from store_rows import START_MS, make_task, remove

CONTEXT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_contexts_are_found_by_their_tasks_and_the_first_one_stays(store: Store) -> None:
    await store.traces.keep({"one": TaskTrace(CONTEXT), "two": TaskTrace(None, f"{CONTEXT} vendor=x")})
    await store.traces.keep({"one": TaskTrace("another"), "three": TaskTrace(CONTEXT, CONTEXT)})
    assert await store.traces.find(["three", "one", "none", "two"]) == {
        "one": TaskTrace(CONTEXT),
        "two": TaskTrace(None, f"{CONTEXT} vendor=x"),
        "three": TaskTrace(CONTEXT, CONTEXT),
    }
    assert await store.traces.find([]) == {}


async def test_a_purge_destroys_the_contexts_of_its_tasks_only(store: Store) -> None:
    await add_ended(store, make_task("gone"), make_task("kept"))
    await store.traces.keep({"gone": TaskTrace(CONTEXT), "kept": TaskTrace(CONTEXT)})
    await remove(store, "gone")
    async for _ in store.archive.purge(START_MS + 10**9, Pace(100, rest=0)):
        pass
    assert await store.traces.find(["gone", "kept"]) == {"kept": TaskTrace(CONTEXT)}
