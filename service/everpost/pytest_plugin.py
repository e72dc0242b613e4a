"""The pytest fixtures that come with Everpost; they need pytest-asyncio, or the plugin of anyio on asyncio.

@pytest.mark.asyncio  # not needed with `asyncio_mode = "auto"`
async def test_a_post_reaches_the_platform(everpost):
    task_id = await everpost.publish(platform="douyin", title="t")
    assert (await everpost.wait_until_ended(task_id))["status"] == "success"
"""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

async_fixture: Callable[..., Any]
try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # every run of pytest beside an installed Everpost comes by here, and most want none of it
    async_fixture = pytest.fixture

if TYPE_CHECKING:
    from everpost.testing import PublisherDouble, Stack


@pytest.fixture
def everpost_settings() -> dict[str, Any]:
    """Settings of the `everpost` fixture other than the defaults; override it in a module or a conftest."""
    return {}


@pytest.fixture
def everpost_publisher() -> "PublisherDouble":
    """The publisher behind every platform; override it for one of another class."""
    from everpost.testing import PublisherDouble  # noqa: PLC0415 - a run that uses no fixture imports no stack

    return PublisherDouble()


@async_fixture
async def everpost(everpost_settings: dict[str, Any], everpost_publisher: "PublisherDouble") -> "AsyncIterator[Stack]":
    """A running stack of the test's own: `everpost.testing.Stack`."""
    from everpost.testing import NoAsyncioError, everpost_stack  # noqa: PLC0415 - as above

    try:
        async with everpost_stack(publisher=everpost_publisher, **everpost_settings) as stack:
            yield stack
    except NoAsyncioError as error:
        pytest.fail(str(error), pytrace=False)
