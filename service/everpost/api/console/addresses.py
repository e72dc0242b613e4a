"""Addresses of the console, relative to the page that has them: a proxy may have any prefix before the root."""


def root_of(path: str) -> str:
    """The way from a page to the root."""
    return "../" * (path.count("/") - 1) or "./"
