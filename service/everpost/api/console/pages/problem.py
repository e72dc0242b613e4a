"""An error as a page."""

from everpost.api.console.answers import PageAnswer
from everpost.api.console.frame import render
from everpost.api.http.problems import ProblemDetails
from everpost.api.services import ApiRequest


def problem_page(request: ApiRequest, problem: ProblemDetails) -> PageAnswer:
    """The page of an error."""
    return render(request, "problem.html", status=problem.status, problem=problem)
