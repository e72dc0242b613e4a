"""Finds Chromium, and starts it."""

import shutil

from playwright.sync_api import Browser, Playwright

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class NoChromiumError(RuntimeError):
    """There is no Chromium on this machine."""

    def __init__(self) -> None:
        super().__init__("There is no Chromium: `apt-get install chromium` on Debian.")


def launched(playwright: Playwright) -> Browser:
    """Start the system's Chromium.

    Raises:
        NoChromiumError: Chromium is not installed.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise NoChromiumError
    return playwright.chromium.launch(executable_path=path, args=list(FLAGS))
