"""Refuses to run where hosts cannot be made, instead of skipping: these tests run only on request."""

from pathlib import Path

import pytest

from chaos_kit.fleet.hosts import find_obstacle


def pytest_collection_finish(session: pytest.Session) -> None:
    wanted = any(item.path.parent == Path(__file__).parent for item in session.items)
    if wanted and not session.config.option.collectonly and (obstacle := find_obstacle()):
        pytest.exit(f"make chaos-fleet cannot run: {obstacle}", returncode=1)
