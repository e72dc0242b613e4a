"""Takes pictures of pages, to look at: `python tests/browser/look.py FOLDER PATH...`."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from browser_kit.chromium import launched
from browser_kit.scene import fill, running_scene

SIZES = {"wide": (1360, 900), "phone": (390, 844)}


def main(folder: Path, paths: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, running_scene(Path(data)) as scene, sync_playwright() as playwright:
        fill(scene)
        browser = launched(playwright)
        for size, (width, height) in SIZES.items():
            for theme, language in (("light", "en-US"), ("dark", "zh-CN")):
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=theme, locale=language
                )
                page = context.new_page()
                page.on("console", lambda message: sys.stderr.write(f"{message.type} {message.text}\n"))
                page.on("pageerror", lambda error: sys.stderr.write(f"error {error}\n"))
                for path in paths:
                    page.goto(scene.address + path)
                    name = path.strip("/").replace("/", "-") or "now"
                    page.screenshot(path=folder / f"{name}-{size}-{theme}.png", full_page=True)
                context.close()
        browser.close()
        scene.call(scene.stack.publisher.release)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
