"""The checks of `everpost doctor` outside Redis. Each returns findings, and reports problems instead of raising."""

import os
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from importlib.metadata import entry_points

import httpx
import msgspec

from everpost.cli.programs import MISUSED, described
from everpost.cli.uplock import UpFacts, api_url
from everpost.clock import from_text
from everpost.embedded import allocator_trouble, server_version
from everpost.errors import SettingsError
from everpost.findings import Finding
from everpost.platforms import Catalogue
from everpost.private_files import open_to_others
from everpost.probe import TIMEOUT_S
from everpost.settings import PREFIX, Settings
from everpost.store.maintenance import Contents
from everpost.store.pause import Pause
from everpost.task.model import TaskStatus

PUBLISHERS = "everpost.publishers"
TRIAL_S = 30
LONGEST_BODY = 1_000
SAMPLE = 5


def check_privacy(settings: Settings) -> Finding:
    """Whether other users of this machine can read the data."""
    places = open_to_others(settings)
    advice = "Others may read them: `chmod o=` them, or start Everpost, which fixes its own files." if places else ""
    return Finding("files", "open to others", ", ".join(map(str, places)) or "none", not places, advice)


def task_findings(contents: Contents, now_ms: int) -> Iterator[Finding]:
    """The tasks in the database."""
    if contents.in_two_places is not None:
        broken = len(contents.in_two_places)
        advice = f"This must never happen (I1): {', '.join(contents.in_two_places[:SAMPLE])}." if broken else ""
        yield Finding("tasks", "in two tables", str(broken or "none"), not broken, advice)
    if contents.wrong_counts is not None:
        advice = "A worker repairs them within the hour." if contents.wrong_counts else ""
        told = f"{contents.wrong_counts} differ from the number of tasks" if contents.wrong_counts else "right"
        yield Finding("tasks", "counts", told, not contents.wrong_counts, advice)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(contents.statuses.items()))
    yield Finding("tasks", "by status", counts or "none")
    unknown = contents.statuses.get(TaskStatus.UNKNOWN, 0)
    advice = "`everpost list --status unknown`; look at the platform, then `everpost resolve ID`." if unknown else ""
    yield Finding("tasks", "outcome unknown", str(unknown), None if unknown else True, advice)
    advice = "`everpost list --error-class unreadable` says why; retry or resolve them." if contents.unreadable else ""
    yield Finding("tasks", "unreadable", str(contents.unreadable), None if contents.unreadable else True, advice)
    twice = contents.published_twice
    advice = "Find them with `everpost list --q accepted`, and look for second posts." if twice else ""
    yield Finding("tasks", "sent again though accepted", str(twice), None if twice else True, advice)
    yield Finding("tasks", "oldest unfinished", _oldest_text(contents, now_ms))
    yield _pause_finding(contents.pause)


def _oldest_text(contents: Contents, now_ms: int) -> str:
    oldest = contents.oldest_due
    if oldest is None:
        return "none"
    age_s = (now_ms - (from_text(oldest.created_at) or now_ms)) / 1000
    return f"{oldest.task_id}, {oldest.status}, accepted {age_s:,.0f} s ago"


def _pause_finding(pause: Pause | None) -> Finding:
    if pause is None:
        return Finding("tasks", "dispatch", "not paused", ok=True)
    told = f"paused since {pause.restored_at}, when {pause.backup} was restored; its newest row is of {pause.newest_at}"
    advice = f"{pause.held} of its tasks may have been sent since: see `everpost resume --dry-run`."
    return Finding("tasks", "dispatch", told, ok=False, advice=advice)


def check_embedded_server(settings: Settings) -> Iterator[Finding]:
    """The server that `everpost up` would start, if EVERPOST_REDIS is not set, and whether it has its allocator."""
    if settings.redis:
        return
    try:
        server, trouble = server_version(), allocator_trouble()
    except SettingsError as error:
        yield Finding("Redis", "embedded server", "none", advice=error.message)
        return
    advice = f"It uses the C library's memory allocator, which is slower: {trouble}" if trouble else ""
    yield Finding("Redis", "embedded server", server, None if trouble else True, advice)


def check_publishers(settings: Settings) -> Iterator[Finding]:
    """Whether every platform's publisher is installed and accepts the platform's options."""
    try:
        catalogue = Catalogue.read(settings.platforms)
    except SettingsError as error:
        yield Finding("platforms", "catalogue", str(settings.platforms), ok=False, advice=error.message)
        return
    installed = {entry.name for entry in entry_points(group=PUBLISHERS)}
    lacking = {platform.name: platform.publisher for platform in catalogue if platform.publisher not in installed}
    names = ", ".join(f"{name} ({publisher})" for name, publisher in lacking.items())
    advice = f"Installed are {', '.join(sorted(installed))}." if lacking else ""
    told = f"no publisher for {names}" if lacking else f"{len(catalogue)} platforms, each with its publisher"
    yield Finding("platforms", "catalogue", told, not lacking, advice)
    if not lacking:
        refusal = _refusal_of_options(settings)
        yield Finding(
            "platforms", "options", "refused, in this environment" if refusal else "taken", not refusal, refusal
        )


def _refusal_of_options(settings: Settings) -> str:
    """Why a worker would not start with these options; empty if it would. No publisher is opened."""
    told = {"DATA": settings.data, "PLATFORMS": settings.platforms}
    environment = {**os.environ, **{PREFIX + name: str(path) for name, path in told.items() if path is not None}}
    program = [
        sys.executable,
        "-P",
        "-m",
        "everpost_workers.publishers",
    ]  # -P: like the worker, it must not import modules from the current folder
    try:
        tried = subprocess.run(program, env=environment, capture_output=True, timeout=TRIAL_S, check=False)  # noqa: S603 - our own program, no shell
    except subprocess.TimeoutExpired:
        return f"A publisher's constructor or module takes longer than {TRIAL_S} s."
    if tried.returncode == 0:
        return ""
    lines = tried.stderr.decode(errors="replace").splitlines()
    return lines[-1] if tried.returncode == MISUSED and lines else f"Loading them {described(tried.returncode)}."


def check_api(settings: Settings, running: UpFacts | None, url: str | None, *, is_expected: bool) -> Finding:
    """Whether an API answers: at `url`, else that of a running `everpost up`, else at the address of the settings.

    Args:
        is_expected: Everpost has been started here before, so an API should answer.
    """
    place = (url or api_url(settings)).rstrip("/")
    try:
        headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
        answer = httpx.get(f"{place}/health/ready", headers=headers, timeout=TIMEOUT_S, trust_env=False)
    except Exception:  # noqa: BLE001 - any failure means that there is no Everpost API
        advice = "Start one with `everpost up` or `everpost api`, or give the address of another one with --url."
        return Finding(
            "API",
            "ready",
            f"none answers at {place}",
            ok=False if url or running or is_expected else None,
            advice=advice,
        )
    status = answer.status_code
    return Finding(
        "API", "ready", f"{place} answers {status}", status == HTTPStatus.OK, _api_advice(status, answer.text)
    )


def _api_advice(status: int, body: str) -> str:
    """What to do if the API is not ready, from the API's own checks."""
    if status == HTTPStatus.OK:
        return ""
    if status == HTTPStatus.UNAUTHORIZED:
        return "It needs a token: set EVERPOST_TOKEN to it."
    try:
        checks = msgspec.json.decode(body, type=Readiness).checks
    except msgspec.DecodeError:
        return body[:LONGEST_BODY]
    return " ".join(f"{check.name}: {check.detail}" for check in checks if not check.ok)


class ReadinessCheck(msgspec.Struct):
    """One of the API's own checks; see `service/everpost/views/readiness.py`."""

    name: str
    ok: bool
    detail: str


class Readiness(msgspec.Struct):
    """The body of the API's readiness answer."""

    checks: list[ReadinessCheck]
