"""PostgreSQL's store without one of its guards; see `chaos_kit.without`."""

from unittest.mock import patch

from everpost.store.postgresql.care import lineage


def without_pause() -> None:
    """A promotion that may have lost commits pauses nothing."""
    patch.object(lineage, "may_lack_commits", return_value=False).start()
