"""A task that one worker is about to send when another one takes it over."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from chaos_kit.processes import Worker
from chaos_kit.scene import Scene
from everpost.failpoints import Action
from everpost.testing import eventually

POINT = "send.before"


async def be_overtaken(
    scene: Scene,
    cut_off: Callable[[Worker], AbstractContextManager[None]],
    *,
    sends: bool = False,
    point: str = POINT,
    says: str = "attempt.lease_ended",
) -> None:
    """Cut a worker off that is about to send, until another one has ended its task; then it goes on.

    Args:
        scene: It posts one task only.
        sends: Whether it sends then, since it lacks a guard.
        point: Where it is cut off.
        says: What it logs if it does not send.
    """
    first = await _one_worker_at_point(scene, point)
    with cut_off(first):
        await scene.ended()
    before = scene.logged()
    first.go_on(point)
    if sends:
        await scene.sent(1)
    else:
        await scene.said(says, [first], before)


async def _one_worker_at_point(scene: Scene, point: str) -> Worker:
    for worker in scene.workers:
        worker.arm(point, Action.PAUSE)
    scene.load.start()

    async def is_there() -> list[Worker]:
        return [worker for worker in scene.workers if worker.is_at(point)]

    (first,) = await eventually(is_there, what=f"a worker at {point}")
    for worker in scene.workers:
        if worker is not first:
            worker.disarm(point)
    return first
