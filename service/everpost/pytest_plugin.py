"""The pytest fixtures that come with Everpost; they need pytest-asyncio, or the plugin of anyio on asyncio.

    @pytest.mark.asyncio  # not needed with `asyncio_mode = "auto"`
    async def test_a_post_reaches_the_platform(everpost):
        task_id = await everpost.publish(platform="douyin", title="t")
        assert (await everpost.wait_until_ended(task_id))["status"] == "success"

Every run of pytest beside an installed Everpost loads this module, so it imports nothing until its fixture is used.
"""

import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from everpost.testing import PublisherDouble, Stack


@pytest.fixture
def everpost_settings() -> dict[str, Any]:
    """Settings of the `everpost` fixture that differ from the defaults; override it in a module or a conftest."""
    return {}


@pytest.fixture
def everpost_publisher() -> "PublisherDouble":
    """The publisher that serves every platform; override it to use another class."""
    from everpost.testing import PublisherDouble  # noqa: PLC0415 - see above

    return PublisherDouble()


async def _everpost(everpost_settings: dict[str, Any], everpost_publisher: "PublisherDouble") -> "AsyncIterator[Stack]":
    """A running stack for one test: `everpost.testing.Stack`."""
    from everpost.testing import NoAsyncioError, everpost_stack  # noqa: PLC0415 - see above

    try:
        async with everpost_stack(publisher=everpost_publisher, **everpost_settings) as stack:
            yield stack
    except NoAsyncioError as error:
        pytest.fail(str(error), pytrace=False)


def pytest_configure() -> None:
    """Register the fixture `everpost` with pytest-asyncio if that is loaded, because it runs only its own fixtures."""
    asyncio_plugin = sys.modules.get("pytest_asyncio")
    fixture = pytest.fixture if asyncio_plugin is None else asyncio_plugin.fixture
    globals()["everpost"] = fixture(name="everpost")(_everpost)
