"""The platforms of the catalogue, with their limits and how their tasks stand."""

import asyncio

from everpost.api.console.frame import render
from everpost.api.console.shared import share
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import caller_of
from everpost.api.services import ApiRequest, services_of
from everpost.limits import named_in

FACTS_S = 1.0


async def show_platforms(request: ApiRequest) -> JsonAnswer:
    """Answer with the page."""
    services, caller = services_of(request), caller_of(request)
    history, name_of = services.store.history, services.catalogue.name_of
    summary, limits = await share(
        request, "platforms", FACTS_S, lambda: asyncio.gather(history.summary(name_of), services.limits.show())
    )
    return render(
        request,
        "platforms.html",
        platforms=[platform for platform in services.catalogue if not platform.internal],
        counts={name: of for name, of in summary.by_platform_and_status.items() if caller.may_reach(name, None)},
        scopes={one.scope: one for one in limits.scopes if caller.may_reach(*named_in(one.scope))},
        need=services.accounts.directory.need,
    )
