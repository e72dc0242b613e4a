"""The options of `command`, read and checked before the worker starts."""

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from everpost.errors import SettingsError
from everpost.publishing import read_options
from everpost.settings import Settings

Argv = Annotated[tuple[Annotated[str, Meta(pattern=r"\A[^\0]*\Z")], ...], Meta(min_length=1)]
ErrorName = Literal[
    "transient", "rate_limited", "auth", "needs_person", "account_blocked", "invalid", "permanent", "unknown"
]

INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""The variables a program gets of the worker's. The others may hold secrets of Everpost or of other accounts."""

EXIT_CODES: Mapping[int, ErrorName] = {
    64: "permanent",  # EX_USAGE
    65: "invalid",  # EX_DATAERR
    66: "invalid",  # EX_NOINPUT
    69: "transient",  # EX_UNAVAILABLE
    75: "transient",  # EX_TEMPFAIL
    77: "auth",  # EX_NOPERM
    78: "permanent",  # EX_CONFIG
}
"""The meaning of exit codes: sysexits.h. All others leave the outcome unknown."""

HIGHEST_CODE = 255
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class CommandOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of `command`.

    Attributes:
        command: The program and its arguments. No value of a task is ever added to them.
        look_up: The program that looks for a post, and its arguments; it makes the class `CHECKABLE`.
        check: The program that checks an account, and its arguments; for `everpost accounts test`.
        key_lifetime_s: The program gives the idempotency key to a platform that remembers it for so many seconds; this
            makes the class `KEYED`.
        timeout_s: Seconds until the program is ended; None leaves that to `EVERPOST_JOB_TIMEOUT`.
        grace_s: Seconds that it may take to end after SIGTERM, before SIGKILL.
        memory_mb: Megabytes of memory that each of its processes may write to (RLIMIT_DATA); 0 is no limit.
        max_output_bytes: Bytes of standard output, and of standard error, after which it is ended.
        exit_codes: What exit codes mean, laid over sysexits.h.
        credentials: How it gets the account's credentials: as variables, or in a file that only this user can read.
        environment: Variables for the program.
        pass_environment: Names of the worker's variables that the program gets, too.
    """

    command: Argv
    look_up: Argv | None = None
    check: Argv | None = None
    key_lifetime_s: Annotated[float, Meta(gt=0)] | None = None
    timeout_s: Annotated[float, Meta(gt=0)] | None = None
    grace_s: Annotated[float, Meta(ge=0, le=60)] = 2.0
    memory_mb: Annotated[int, Meta(ge=0)] = 2_048
    max_output_bytes: Annotated[int, Meta(ge=1)] = 4_194_304
    exit_codes: dict[str, ErrorName] = msgspec.field(default_factory=dict)
    credentials: Literal["environment", "file"] = "environment"
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    pass_environment: tuple[str, ...] = ()


class Commands(msgspec.Struct, frozen=True, kw_only=True):
    """Checked options, ready for use."""

    options: CommandOptions
    publish: tuple[str, ...]
    look_up: tuple[str, ...] | None
    check: tuple[str, ...] | None
    exit_codes: Mapping[int, ErrorName]
    environment: Mapping[str, str]


def read_commands(given: Mapping[str, Any], settings: Settings) -> Commands:
    """The options, checked.

    Raises:
        SettingsError: An option is unknown or wrong, or a program does not exist.
    """
    options = read_options(given, CommandOptions)
    if options.look_up is not None and options.key_lifetime_s is not None:
        raise SettingsError("options.key_lifetime_s: set look_up or key_lifetime_s, not both.")
    if options.timeout_s is not None and options.timeout_s > settings.job_timeout:
        limit = f"EVERPOST_JOB_TIMEOUT ({settings.job_timeout:g} s)"
        raise SettingsError(f"options.timeout_s: {limit} ends the program before.")
    return Commands(
        options=options,
        publish=_find_program("command", options.command),
        look_up=None if options.look_up is None else _find_program("look_up", options.look_up),
        check=None if options.check is None else _find_program("check", options.check),
        exit_codes={**EXIT_CODES, **_read_codes(options.exit_codes)},
        environment=_read_environment(options),
    )


def _find_program(option: str, argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command with its program's path. The worker's own environment is searched first, as if it were activated."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    found = shutil.which(Path(argv[0]).expanduser(), path=path)
    if found is None:
        raise SettingsError(f"options.{option}: there is no program {argv[0]!a} that this user may run.")
    return (str(Path(found).absolute()), *argv[1:])


def _read_codes(given: Mapping[str, ErrorName]) -> dict[int, ErrorName]:
    for code in given:
        if not (code.isascii() and code.isdigit() and 1 <= int(code) <= HIGHEST_CODE):
            raise SettingsError(f"options.exit_codes.{code!a}: an exit code of a failure is a number from 1 to 255.")
    return {int(code): name for code, name in given.items()}


def _read_environment(options: CommandOptions) -> dict[str, str]:
    for name, value in options.environment.items():
        if not _VARIABLE.match(name) or "\0" in value:
            raise SettingsError(f"options.environment.{name!a}: is not a variable with a value.")
    inherited = {name: os.environ[name] for name in (*INHERITED, *options.pass_environment) if name in os.environ}
    return inherited | options.environment
