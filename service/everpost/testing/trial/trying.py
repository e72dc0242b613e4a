"""Tries a publisher step by step."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from everpost.publishing import Publisher, PublisherClass
from everpost.testing import Stack, everpost_stack
from everpost.testing.trial.proxy import TrialProxy
from everpost.testing.trial.runs import Fields, Posts, Runs
from everpost.testing.trial.steps import Step, plan_steps
from everpost.testing.trial.verdicts import TrialReport, assessed
from everpost.testing.trial.workers import Crew, install, publisher_of

KILLS_AMID = 4
CUTS = 3
QUICK = MappingProxyType({"lease": 2.0, "shutdown_wait": 1.0, "job_timeout": 10.0})
"""Settings that shorten a trial."""


async def try_publisher(
    publisher: type[Publisher] | str,
    *,
    posts: Posts,
    options: Mapping[str, Any] | Callable[[str], Mapping[str, Any]] = MappingProxyType({}),
    platform_at: tuple[str, int] | None = None,
    fields: Fields | Mapping[str, Any] = MappingProxyType({}),
    wanted: Callable[[Step], bool] = lambda _: True,
    cuts: int | None = CUTS,
    may_be_unknown: bool | None = None,
    prepare: Callable[[Stack], Awaitable[object]] | None = None,
    folder: Path | None = None,
    **settings: Any,
) -> TrialReport:
    """Publish one task for each step of an attempt, with a fault at that step, and ask the platform what it has.

    A worker process of its own runs each attempt; after a kill, a stop or a freeze, another one goes on. The faults and
    the rules of the report are in docs/testing.md.

    Args:
        publisher: Its class, `module:Class`, or the name of an installed publisher.
        posts: Lists the posts that the platform has now: for each a text with the task's title in it.
        options: The publisher's options. A function is given `HOST:PORT` of the proxy before the platform.
        platform_at: Host and port of the platform, if the publisher connects to one. Without it, no connections are
            cut, and kills within `publish` are spread over the time that it takes.
        fields: The task's fields besides `platform`, `account_id` and `title`. A function is given the title.
        wanted: Which steps to try.
        cuts: After how many different numbers of bytes each answer is cut; None is after every byte.
        may_be_unknown: Whether a task may be left to a person. None allows it for the class `NONE` only.
        prepare: Called with the running stack before the first task, for example to add an account.
        folder: For all files, which stay; by default a temporary folder.
        settings: Of Everpost, as for `everpost_stack`; `database` is the address of an empty PostgreSQL database if the
            trial is to run on one.

    Raises:
        ValueError: There is no such publisher.
        SettingsError: It does not take its options.
        TimeoutError: A worker does not start with this publisher; the message has the end of its log.
    """
    tried = publisher_of(publisher)
    async with _scene(tried, options, platform_at, folder, settings) as scene:
        if prepare is not None:
            await prepare(scene.stack)
        runs = Runs(scene.stack, scene.crew, scene.proxy, posts, fields)
        findings = [await runs.observe(is_timed=platform_at is None)]
        if assessed(findings[0], scene.declared).fault is None:
            planned = plan_steps(runs.course, kills_amid=0 if platform_at else KILLS_AMID, cuts=cuts)
            findings += [await runs.run(step) for step in planned if wanted(step)]
        findings = await runs.recount(findings)
        told = [assessed(finding, scene.declared, may_be_unknown=may_be_unknown) for finding in findings]
        return TrialReport(name=tried.__qualname__, publisher_class=scene.declared, findings=told)


class _Scene(msgspec.Struct, frozen=True):
    """What the runs of a trial need.

    Attributes:
        declared: The publisher's class; a publisher may choose it by its options.
    """

    stack: Stack
    crew: Crew
    proxy: TrialProxy
    declared: PublisherClass


@asynccontextmanager
async def _scene(
    tried: type[Publisher],
    options: Mapping[str, Any] | Callable[[str], Mapping[str, Any]],
    platform_at: tuple[str, int] | None,
    folder: Path | None,
    settings: Mapping[str, Any],
) -> AsyncIterator[_Scene]:
    """Serve the proxy, install the publisher with its options, and start Everpost without a worker."""
    async with AsyncExitStack() as cleanup:
        if folder is None:
            made = tempfile.TemporaryDirectory(prefix="everpost-trial-", ignore_cleanup_errors=True)
            folder = Path(cleanup.enter_context(made))
        proxy = TrialProxy(*(platform_at or ("", 0)))
        if platform_at is not None:
            await cleanup.enter_async_context(proxy.serving())
        given_options = options(proxy.address) if callable(options) else options
        chosen: dict[str, Any] = msgspec.to_builtins(given_options, enc_hook=str)  # a path becomes a text
        given = {**QUICK, "platforms": install(tried, chosen, folder / "plugin"), **settings}
        stack = await cleanup.enter_async_context(everpost_stack(workers=0, folder=folder / "stack", **given))
        crew = Crew(folder / "workers", folder / "plugin", stack.settings)
        cleanup.push_async_callback(crew.close)
        yield _Scene(stack, crew, proxy, tried(chosen, stack.settings).publisher_class)
