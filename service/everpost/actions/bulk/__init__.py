"""Bulk work: retry, cancel, delete or archive many tasks, by ids or by a filter."""

from everpost.actions.bulk.request import BulkAnswer, BulkKind, BulkRequest
from everpost.actions.bulk.service import AT_ONCE, CLEARED, Bulk

__all__ = ["AT_ONCE", "CLEARED", "Bulk", "BulkAnswer", "BulkKind", "BulkRequest"]
