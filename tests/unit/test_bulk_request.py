"""Requests of bulk work as operations keep them."""

import msgspec

from everpost.actions.bulk.request import BulkKind, BulkRequest, read_request
from everpost.store.history import TaskFilter
from everpost.task.place import Place


def test_a_request_that_is_kept_is_read_again() -> None:
    wanted = TaskFilter(status="failed", platform=("1", "douyin"), place=Place.HISTORY)
    request = BulkRequest(kind=BulkKind.DELETE, task_ids=("a", "b"), filter=wanted)
    assert read_request(msgspec.json.encode(request).decode()) == request
    old = BulkRequest(kind=BulkKind.ARCHIVE, ended_before_ms=7)
    assert read_request(msgspec.json.encode(old).decode()) == old


def test_a_request_of_an_earlier_version_names_a_place_by_its_table() -> None:
    kept = '{"kind":"cancel","filter":{"status":null,"platform":["1"],"created_before_ms":5,"place":"task_queue"}}'
    wanted = TaskFilter(platform=("1",), created_before_ms=5, place=Place.LEDGER)
    assert read_request(kept) == BulkRequest(kind=BulkKind.CANCEL, filter=wanted)
