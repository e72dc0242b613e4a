"""Doing one thing to many tasks: retry, cancel, delete, archive, by ids or by a filter."""

from everpost.actions.bulk.request import BulkAnswer, BulkKind, BulkRequest, BulkSkip
from everpost.actions.bulk.service import AT_ONCE, CLEARED, Bulk

__all__ = ["AT_ONCE", "CLEARED", "Bulk", "BulkAnswer", "BulkKind", "BulkRequest", "BulkSkip"]
