"""`everpost list --watch`: the list on its own screen, redrawn when something happens, and every few seconds."""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from everpost.cli.client import Api, ApiUnreachable
from everpost.cli.events import follow_events
from everpost.cli.task_table import lines_of
from everpost.clock import Clock
from everpost.errors import ServiceError

AROUND = 4  # lines of the screen that show no tasks
CALM_S = 0.3  # the list is drawn no more often


class News:
    """Knows that something has happened to a task, as far as the API tells it."""

    def __init__(self) -> None:
        self._has_news = threading.Event()

    def watch(self, api: Api) -> None:
        """Follow the events, until the process ends."""
        threading.Thread(target=self._watch, args=(api,), daemon=True).start()

    def wait(self, at_most_s: float) -> None:
        """Wait for news; after news, a moment longer for more of it."""
        if self._has_news.wait(at_most_s):
            time.sleep(min(CALM_S, at_most_s))
        self._has_news.clear()

    def _watch(self, api: Api) -> None:
        with suppress(ServiceError, RuntimeError):  # then the list is drawn every few seconds, as before
            for _ in follow_events(api, {"types": "task.accepted,task.started,task.ended,task.changed"}):
                self._has_news.set()


def watch_tasks(api: Api, wanted: Mapping[str, Any], screen: Console, *, every_s: float, clock: Clock) -> None:
    """Show the list until Ctrl-C. If the API does not answer, the screen says so and the API is asked again."""
    answer: Mapping[str, Any] = {"data": [], "total": 0}
    news = News()
    news.watch(api)
    with Live(console=screen, screen=True, auto_refresh=False) as live:
        try:
            while True:
                limit = min(int(wanted["limit"]), max(screen.height - AROUND, 1))
                try:
                    answer, trouble = api.get("/tasks", {**wanted, "limit": limit}), ""
                except ApiUnreachable as error:
                    trouble = error.message
                live.update(_view(answer, trouble, screen, every_s, clock()), refresh=True)
                news.wait(every_s)
        except KeyboardInterrupt:
            return


def _view(answer: Mapping[str, Any], trouble: str, screen: Console, every_s: float, now_ms: int) -> Group:
    at = datetime.fromtimestamp(now_ms / 1000, UTC)
    head = Text(f"{at:%H:%M:%S} UTC, at each change and every {every_s:g} s; Ctrl-C ends it", "dim", no_wrap=True)
    lines = list(lines_of(answer["data"], screen.width, now_ms))
    room = max(screen.height - AROUND + 1, 1)
    foot = Text(trouble, "red") if trouble else Text(f"{len(answer['data'])} of {answer['total']} tasks", "dim")
    for line in lines:
        line.no_wrap = True
    return Group(head, *lines[:room], foot)
