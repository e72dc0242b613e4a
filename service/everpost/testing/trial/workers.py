"""Worker processes with the publisher that is tried, and the points at which they stop."""

import importlib
import inspect
import itertools
import json
import os
import signal
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from everpost.children import Child, wait_for_log
from everpost.failpoints import Action, hit_of
from everpost.publishing import Publisher
from everpost.settings import PREFIX, Settings

START_S = 60.0
STOP_S = 30.0
PLATFORM = "trial"
PLATFORM_ID = 2_000_000_000
MODULE = "everpost_trial"

WRAPPER = '''"""Written by everpost.testing.trial: loads the publisher, and shortens the pauses between attempts."""

import importlib.util
import sys

from everpost.task import attempt_rules

attempt_rules.BACKOFF_BASE_S = 0.1

try:
    module = importlib.import_module({module!r})
except ModuleNotFoundError:
    spec = importlib.util.spec_from_file_location({module!r}, {file!r})
    module = sys.modules[{module!r}] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

Tried = module
for name in {names!r}:
    Tried = getattr(Tried, name)
'''


def publisher_of(given: type[Publisher] | str) -> type[Publisher]:
    """The class that is tried: itself, `module:Class`, or the name of an installed publisher.

    Raises:
        ValueError: There is no such publisher.
    """
    if not isinstance(given, str):
        return given
    if ":" not in given:
        for entry in entry_points(group="everpost.publishers", name=given):
            given = entry.value
    module, found, name = given.partition(":")
    if not found:
        raise ValueError(f"There is no publisher {given!r}: give its class, MODULE:CLASS, or an installed name.")
    loaded: type[Publisher] = getattr(importlib.import_module(module), name)
    return loaded


def install(publisher: type[Publisher], options: Mapping[str, Any], folder: Path) -> Path:
    """Install the publisher in a folder, as a package would, for the platform `trial`; the catalogue's file."""
    folder.mkdir(parents=True, exist_ok=True)
    module = publisher.__module__ if publisher.__module__ != "__main__" else f"{MODULE}_main"  # a worker has its own
    wrapper = WRAPPER.format(module=module, file=inspect.getfile(publisher), names=publisher.__qualname__.split("."))
    (folder / f"{MODULE}.py").write_text(wrapper, "utf-8")
    metadata = folder / f"{MODULE}-1.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {MODULE}\nVersion: 1\n", "utf-8")
    (metadata / "entry_points.txt").write_text(f"[everpost.publishers]\n{MODULE} = {MODULE}:Tried\n", "utf-8")
    catalogue = folder / "platforms.toml"
    catalogue.write_text(
        f"[platforms.{PLATFORM}]\nid = {PLATFORM_ID}\npublisher = {json.dumps(MODULE)}\noptions = {_toml(options)}\n",
        "utf-8",
    )
    return catalogue


def _toml(value: Any) -> str:
    """An option as an inline value of TOML, whose texts and numbers are JSON's."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


class TrialWorker:
    """A worker process; the files `NAME.log` and `NAME/` (its points) are in the folder.

    Args:
        plugin: The folder of `install`.
    """

    _numbers = itertools.count(1)

    def __init__(self, folder: Path, plugin: Path, settings: Settings) -> None:
        name = f"worker-{next(self._numbers)}"
        self._log = folder / f"{name}.log"
        self._points = folder / name
        self._points.mkdir(parents=True)
        self._environment = {
            **_variables(settings),
            f"{PREFIX}FAILPOINTS": str(self._points),
            f"{PREFIX}LOG_FORMAT": "json",
            "PYTHONPATH": os.pathsep.join([str(plugin), *filter(None, sys.path)]),
        }
        self._child: Child | None = None

    async def start(self) -> None:
        """Start it, and wait until it takes tasks.

        Raises:
            TimeoutError: It does not start; the message has the end of its log.
        """
        with self._log.open("wb") as output:
            self._child = Child([sys.executable, "-m", "everpost_workers"], env=self._environment, output=output)
        await wait_for_log(self._log, b'"worker.started"', self._child, START_S)

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._child is not None and self._child.exit_code is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._child is not None, "it was started"
        return self._child.pid

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._child is not None:
            self._child.kill()

    async def stop(self) -> None:
        """Send SIGTERM, and wait for its end."""
        if self._child is not None:
            await self._child.stop(STOP_S)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def arm(self, point: str, action: Action) -> None:
        """Have it carry out an action when it next reaches a failpoint."""
        made = self._points / "made"
        made.write_text(action, "ascii")
        made.rename(self._points / point)

    def disarm(self, point: str) -> None:
        """Let it pass a failpoint."""
        (self._points / point).unlink(missing_ok=True)

    def is_at(self, point: str) -> bool:
        """Whether it has reached a failpoint, and was not told to go on."""
        return hit_of(self._points / point).exists()

    def go_on(self, point: str) -> None:
        """Let it continue from a failpoint at which it pauses."""
        hit_of(self._points / point).unlink(missing_ok=True)


class Crew:
    """The worker processes of one trial. At most one takes tasks at a time, except beside a frozen one."""

    def __init__(self, folder: Path, plugin: Path, settings: Settings) -> None:
        self._folder = folder
        self._plugin = plugin
        self._settings = settings
        self._workers: list[TrialWorker] = []

    async def ready(self, *, is_new: bool = False, keep: TrialWorker | None = None) -> TrialWorker:
        """A worker that takes tasks: the running one, or a new one.

        Args:
            is_new: Start a new one in any case, and kill all others but `keep`.
        """
        running = [worker for worker in self._workers if worker.is_running and worker is not keep]
        if running and not is_new:
            return running[-1]
        for worker in running:
            worker.kill()
        worker = TrialWorker(self._folder, self._plugin, self._settings)
        self._workers.append(worker)
        await worker.start()
        return worker

    async def close(self) -> None:
        """Kill all of them."""
        for worker in self._workers:
            worker.kill()


def _variables(settings: Settings) -> dict[str, str]:
    """Every setting that differs from its default, as an environment variable; all others as not set."""
    usual, chosen = Settings(), {}
    for name in Settings.__struct_fields__:
        value = getattr(settings, name)
        differs = value is not None and value != getattr(usual, name)
        chosen[f"{PREFIX}{name.upper()}"] = (str(value).lower() if value is True else str(value)) if differs else ""
    return chosen
