"""`everpost up`: all of Everpost with one command, for a laptop, a small server or a container."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from everpost.children import stopped_by_signals
from everpost.cli.programs import Program
from everpost.cli.supervisor import Supervisor, told_of_moved_data
from everpost.cli.telling import Say, say_of
from everpost.cli.uplock import UpFacts, UpLock
from everpost.embedded import EmbeddedValkey, allocator_trouble, server_version
from everpost.errors import ServiceError
from everpost.private_files import close_to_others
from everpost.probe import base_url, free_port
from everpost.redis_address import shown_address
from everpost.settings import PREFIX, Settings, read_settings
from everpost.stopping import up_budget_s

EXAMPLES = """\b
Examples:
  everpost up
  everpost up --port 8080 --workers 2
  EVERPOST_REDIS=redis://127.0.0.1:6379/0 everpost up
"""


class ValkeyFailed(ServiceError):
    """The embedded server does not start."""

    code = "valkey_failed"

    def __init__(self, folder: Path, reason: str) -> None:
        lines = reason.strip().splitlines()
        super().__init__(
            f"Valkey does not start: {lines[-1] if lines else reason} If its files are damaged, move {folder} away: "
            "no task is lost, the database has them all."
        )


@click.command(epilog=EXAMPLES)
@click.option("--host", metavar="ADDRESS", help="Address to bind to, instead of EVERPOST_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port, instead of EVERPOST_PORT; 0 takes a free one.")
@click.option("--data", metavar="FOLDER", help="Folder for everything it makes, instead of EVERPOST_DATA.")
@click.option(
    "--workers",
    type=click.IntRange(1, 8),
    default=1,
    show_default=True,
    help="Worker processes. SQLite has one writer at a time, so more than two rarely help.",
)
def up(host: str | None, port: int | None, data: str | None, workers: int) -> int:
    """Serve: API, worker, and a Valkey of its own.

    If EVERPOST_REDIS is set, that server is used. Otherwise `up` starts a Valkey that only its own processes can reach;
    its data is in the data folder. Processes that end unexpectedly are restarted. Ctrl-C or SIGTERM stops all in order:
    the API finishes its requests, then the workers their tasks, then Valkey stops. A second Ctrl-C stops them at once.
    """
    settings = read_settings(os.environ, host=host, port=port, data=data)
    settings.check_exposure()
    close_to_others(settings)
    port = free_port(settings.host, settings.port)
    with stopped_by_signals():  # until the supervisor handles the signals
        return asyncio.run(_serve(settings, port, workers, say_of(settings)))


async def _serve(settings: Settings, port: int, workers: int, say: Say) -> int:
    url = base_url(settings, port)
    is_embedded = not settings.redis
    with UpLock(settings.data) as lock:
        valkey = await _start_valkey(settings.data / "valkey", say) if is_embedded else None
        redis = valkey.address if valkey else settings.redis_address
        lock.tell(UpFacts(os.getpid(), url, valkey.address if valkey else ""))
        env = _environment(settings, port, valkey)
        names = ["worker"] if workers == 1 else [f"worker {n}" for n in range(1, workers + 1)]
        supervisor = Supervisor(
            valkey=valkey,
            api=Program("API", _command("api"), env),
            workers=[Program(name, _command("worker"), env) for name in names],
            budget_s=up_budget_s(settings.shutdown_wait),
            say=say,
        )
        code = await supervisor.run(settings.host, port, lambda: _greet(say, settings, url, redis))
    say("up.stopped", "Stopped.", exit_code=code)
    return code


async def _start_valkey(folder: Path, say: Say) -> EmbeddedValkey:
    try:
        valkey = await EmbeddedValkey(folder).start()
    except TimeoutError as error:
        raise ValkeyFailed(folder, str(error)) from error
    if valkey.moved_to is not None:
        say("up.data_moved", told_of_moved_data(valkey.moved_to), moved_to=str(valkey.moved_to))
    if trouble := allocator_trouble():
        told = f"Valkey uses the C library's memory allocator, which is slower: {trouble}"
        say("up.allocator_missing", told, trouble=trouble)
    return valkey


def _command(name: str) -> list[str]:
    # -P: modules in the current folder must not replace Everpost's.
    return [sys.executable, "-P", "-m", "everpost.cli", name]


def _environment(settings: Settings, port: int, valkey: EmbeddedValkey | None) -> Mapping[str, str]:
    """The environment variables the children get in addition to this process's own."""
    told = {"HOST": settings.host, "PORT": str(port), "DATA": str(settings.data)}
    told |= {"REDIS": valkey.address} if valkey else {}
    return {PREFIX + name: value for name, value in told.items()}


def _greet(say: Say, settings: Settings, url: str, redis: str) -> None:
    text = (
        f"Everpost serves {url}\n"
        f"  console   {url}/ (in a browser)\n"
        f"  API       {url}/schema{'' if settings.token else ' (no token is set)'}\n"
        f"  database  {settings.shown_database}\n"
        f"  Redis     {shown_address(redis)}{'' if settings.redis else f' (embedded: {server_version()})'}\n"
        "Ctrl-C stops it."
    )
    say(
        "up.serving",
        text,
        url=url,
        database=settings.shown_database,
        redis=shown_address(redis),
        server=None if settings.redis else server_version(),
        asks_token=settings.token is not None,
    )
