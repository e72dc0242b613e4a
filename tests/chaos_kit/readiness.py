"""What the first API's `/health/ready` and `everpost doctor` say during a scene."""

from collections.abc import Mapping
from typing import Any, cast

import httpx

from chaos_kit.load import HANG_S
from chaos_kit.scene import Scene
from everpost.cli.queue_checkup import check_redis
from everpost.settings import read_settings
from everpost.testing import eventually


async def check_of(scene: Scene, name: str) -> Mapping[str, Any]:
    """A check of readiness."""
    async with httpx.AsyncClient(timeout=HANG_S) as client:
        answer = await client.get(f"{scene.addresses()[0]}/health/ready")
    checks: dict[str, Any] = {check["name"]: check for check in answer.json()["checks"]}
    return cast("Mapping[str, Any]", checks[name])


async def says(scene: Scene, name: str, words: str, *, ok: bool) -> None:
    """Wait until a check of readiness says something.

    Raises:
        TimeoutError: It did not; the message has what it said last.
    """
    seen: list[Mapping[str, Any]] = []

    async def is_said() -> bool:
        seen[:] = [await check_of(scene, name)]
        return words in seen[0]["detail"] and seen[0]["ok"] is ok

    try:
        await eventually(is_said)
    except TimeoutError as error:
        told = f"readiness does not say {words!r} of the {name} with ok={ok}, but {seen}"
        raise TimeoutError(told) from error


async def clocks_told(scene: Scene) -> list[str]:
    """What `doctor` tells of the clocks of Redis and of the workers' hosts."""
    settings = read_settings({"EVERPOST_DATABASE": scene.database, "EVERPOST_REDIS": scene.valkey.address})
    found = [finding for finding in await check_redis(settings, None) if finding.name == "clock"]
    return [f"{finding.about}: {finding.value.split(', on')[0]}" for finding in found]
