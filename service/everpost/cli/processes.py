"""The commands that run one process (API, worker, demo), and the health check of a container."""

import asyncio
import http.client
import os
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click

from everpost.cli.output import say
from everpost.cli.uplock import api_url, find_up
from everpost.garbage import without_collection
from everpost.probe import ask
from everpost.settings import Settings, read_settings

HTTP_OK = 200


@click.command(epilog="\b\nExample:\n  EVERPOST_REDIS=redis://127.0.0.1:6379/0 everpost api --port 8080")
@click.option("--host", metavar="ADDRESS", help="Address to bind to, instead of EVERPOST_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port, instead of EVERPOST_PORT; 0 takes a free one.")
def api(host: str | None, port: int | None) -> None:
    """Serve the HTTP API alone. Workers run elsewhere, with the same EVERPOST_REDIS and database file.

    An address that other machines can reach is refused unless EVERPOST_TOKEN is set.
    """
    settings = read_settings(os.environ, host=host, port=port)
    settings.check_exposure()
    _ = settings.redis_address
    # These imports are slow, and wrong settings should be refused at once.
    from everpost.error_reports import start_error_reports  # noqa: PLC0415 - after the logs, as below
    from everpost.logs import configure_logging  # noqa: PLC0415

    configure_logging(settings, reports=start_error_reports(os.environ, "api", settings.redactor))
    with without_collection():
        from everpost.app import serve  # noqa: PLC0415 - after the logs, which load structlog without rich

    serve(settings)


@click.command(epilog="\b\nExample:\n  EVERPOST_REDIS=redis://127.0.0.1:6379/0 everpost worker")
def worker() -> None:
    """Run one worker: claim tasks, publish them, record how they ended.

    On SIGTERM it takes no more tasks, lets the running ones finish for EVERPOST_SHUTDOWN_WAIT seconds, and gives back
    those it has not begun. The worker replaces this process, so it receives signals directly.
    """
    _ = read_settings(os.environ).redis_address
    # glibc gives each thread memory of its own, which saves no time under Python's lock and takes 1.3 MB.
    environment = {"MALLOC_ARENA_MAX": "1", **os.environ}
    # -P: modules in the current folder must not replace Everpost's.
    command = [sys.executable, "-P", "-m", "everpost_workers"]
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own program, no shell


@click.command(epilog="\b\nExample:\n  everpost demo --folder /tmp/seen")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep all files in this folder.")
@click.option(
    "--database", metavar="ADDRESS", help="Use a new database on this PostgreSQL server; it is removed again."
)
@click.option(
    "--platform",
    type=click.Choice(["bluesky"]),
    help="Post to a real server of this platform instead, which `make peers` has fetched.",
)
def demo(folder: Path | None, database: str | None, platform: str | None) -> int | None:
    """Show the main job end to end on its own stack, and prove each step.

    It needs neither settings nor Redis, and leaves nothing behind unless --folder is given.
    """
    from everpost.demo import main  # noqa: PLC0415 - it loads much that the other commands do not need
    from everpost.logs import configure_logging  # noqa: PLC0415 - as below

    configure_logging(Settings(), at_least="warning")
    return main(folder, keep=folder is not None, server=database, platform=platform)


@click.command(epilog="\b\nExamples:\n  everpost health --ready\n  everpost health --worker")
@click.option("--ready", is_flag=True, help="Check that tasks are accepted and run, not only that the API is alive.")
@click.option("--worker", "of_worker", is_flag=True, help="Check in Redis that a worker of this host is alive.")
def health(ready: bool, of_worker: bool) -> int:
    """The health check of a container: exit with 0 if all is well, with 1 if not.

    A worker survives an outage of Redis, so with --worker, a Redis that does not answer does not fail the check.
    """
    settings = read_settings(os.environ)
    is_well, text = asyncio.run(_worker_health(settings)) if of_worker else _api_health(settings, ready=ready)
    say(text)
    return 0 if is_well else 1


def _api_health(settings: Settings, *, ready: bool) -> tuple[bool, str]:
    url = urlsplit(api_url(settings))
    place = url.netloc
    try:
        path = "/health/ready" if ready else "/health/live"
        status, body = ask(url.hostname or "", url.port or 0, path, token=settings.token)
    except (OSError, http.client.HTTPException) as error:
        return False, f"{place} does not answer: {error}"
    return status == HTTP_OK, f"{place} answers {status}: {body}"


async def _worker_health(settings: Settings) -> tuple[bool, str]:
    from everpost.logs import configure_logging  # noqa: PLC0415 - only this check needs it
    from everpost.queue.task_queue import TaskQueue  # noqa: PLC0415 - only this check needs it

    configure_logging(settings)
    running = find_up(settings.data)
    queue = TaskQueue.connect((running.redis if running else None) or settings.redis_address)
    host = socket.gethostname()
    try:
        if not await queue.server.ping():
            return True, "Redis does not answer, so the worker's state is not known."
        alive = [facts for facts in await queue.workers.living() if str(facts["worker"]).startswith(f"{host}:")]
    finally:
        await queue.close()
    return bool(alive), f"{len(alive)} workers of {host} are alive."
