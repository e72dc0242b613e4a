"""One Everpost and one Chromium for the tests of a process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from browser_kit.chromium import launched
from browser_kit.scene import Scene, fill, running_scene


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launched(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A filled scene, which tests may add to, and must not spoil for others."""
    with running_scene(tmp_path_factory.mktemp("scene")) as running:
        fill(running)
        yield running
        running.call(running.stack.publisher.release)


@pytest.fixture
def empty_scene(tmp_path: Path) -> Iterator[Scene]:
    """A scene without a task."""
    with running_scene(tmp_path) as running:
        yield running
