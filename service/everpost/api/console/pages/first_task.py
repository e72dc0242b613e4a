"""Makes the first task of a new service."""

from typing import Any

from everpost.api.console.answers import SeeOther
from everpost.api.console.forms import read_form
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import caller_of
from everpost.api.named_things import read_submission
from everpost.api.services import ApiRequest, Services, services_of
from everpost.errors import InvalidValue
from everpost.platforms import Platform

FOLDER = "folder"  # the publisher that only writes files: a first try reaches no platform


def first_platform(services: Services) -> Platform | None:
    """A platform whose publisher only writes files; None if the catalogue has no such platform."""
    need = services.accounts.directory.need
    return next((one for one in services.catalogue if one.publisher == FOLDER and not need(one)), None)


def first_task(platform: Platform) -> dict[str, Any]:
    """The data of the task."""
    return {"platform": platform.name, "account_id": "first_account", "title": "My first post", "tags": ["hello"]}


async def make_first_task(request: ApiRequest) -> JsonAnswer:
    """Publish the task, and show it."""
    services = services_of(request)
    await read_form(request)
    platform = first_platform(services)
    if platform is None:
        raise InvalidValue("No platform has the publisher `folder`, which only writes files.", "$.platform")
    submission = await read_submission(services, first_task(platform), caller=caller_of(request))
    task = await services.acceptance.publish_task(submission)
    return SeeOther(f"./?done=first_task#{task.task_id}")
