"""Takes the console's pictures for docs/images, in Chromium, of the scene that the browser tests use.

python docs_site/pictures.py     (`make pictures` installs what it needs first)
"""

import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import structlog
from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from browser_kit.chromium import launched
from browser_kit.scene import Scene, fill, running_scene
from browser_kit.view import CHINESE_PHONE, DARK, ENGLISH, Look, viewing

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 200_000


class Picture(NamedTuple):
    """A page as a person sees it; `{task_id}` in its path is a task that has failed."""

    name: str
    path: str
    look: Look = ENGLISH


PICTURES = (
    Picture("console", ""),
    Picture("console-tasks", "tasks"),
    Picture("console-task", "tasks/{task_id}", DARK),
    Picture("console-unknown", "unknown"),
    Picture("console-phone", "", CHINESE_PHONE),
)


def take(browser: Browser, scene: Scene, picture: Picture) -> None:
    """Take one picture, of what fits into the window.

    Raises:
        ValueError: Its file is too large for a repository.
    """
    failed = scene.client.get("/api/v1/tasks", params={"status": "failed", "limit": 1}).json()["data"]
    with viewing(browser, picture.look) as page:
        page.goto(f"{scene.address}/{picture.path.format(task_id=failed[0]['task_id'])}")
        page.wait_for_load_state("load")
        file = IMAGES / f"{picture.name}.png"
        page.screenshot(path=file, animations="disabled")
    size_bytes = file.stat().st_size
    if size_bytes > MOST_BYTES:
        raise ValueError(f"{file.name} has {size_bytes:,} bytes; {MOST_BYTES:,} are the most.")
    sys.stdout.write(f"{file.relative_to(ROOT)}: {size_bytes:,} bytes\n")


def main() -> None:
    """Take all pictures."""
    IMAGES.mkdir(exist_ok=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))  # the scene fails on purpose
    with tempfile.TemporaryDirectory() as data, running_scene(Path(data)) as scene, sync_playwright() as playwright:
        fill(scene)
        browser = launched(playwright)
        for picture in PICTURES:
            take(browser, scene, picture)
        browser.close()
        scene.call(scene.stack.publisher.release)


if __name__ == "__main__":
    main()
