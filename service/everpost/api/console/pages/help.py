"""The page that shows the keys and the first steps."""

from everpost.api.console.frame import render
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.services import ApiRequest


async def show_help(request: ApiRequest) -> JsonAnswer:
    """Answer with the page."""
    return render(request, "help.html")
