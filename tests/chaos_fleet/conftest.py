"""Refuses to run where hosts cannot be made, instead of skipping: these tests run only on request."""

import pytest

from chaos_kit.fleet.hosts import find_obstacle


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.items and not session.config.option.collectonly and (obstacle := find_obstacle()):
        pytest.exit(f"make chaos-fleet cannot run: {obstacle}", returncode=1)
