"""The tools for agents, by the official SDK of the Model Context Protocol. Each tool is one request to the API."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from everpost.cli.client import Api, task_path
from everpost.cli.mcp_answers import INSTRUCTIONS, as_data
from everpost.errors import ServiceError
from everpost.release import running_version
from everpost.task.model import ErrorClass, TaskStatus

MOST_ROWS = 50
LONGEST_WAIT_S = 50

READS = ToolAnnotations(readOnlyHint=True, openWorldHint=False)
CHANGES = ToolAnnotations(readOnlyHint=False, destructiveHint=True, idempotentHint=True, openWorldHint=True)

TaskId = Annotated[str, Field(description="The task's whole id.", min_length=1, max_length=128)]
Status = Annotated[TaskStatus | None, Field(description="Only tasks with this status.")]
Platform = Annotated[str | None, Field(description="Only this platform: its id, name or alias.")]
Account = Annotated[str | None, Field(description="Only this account.")]
After = Annotated[str | None, Field(description="Only tasks accepted at this date or time, or later.")]
Before = Annotated[str | None, Field(description="Only tasks accepted before this date or time.")]
Kind = Annotated[ErrorClass | None, Field(description="Only tasks that ended with this class of error.")]
Cause = Annotated[str | None, Field(description="Only tasks that failed with this cause, as list_failures has it.")]
Words = Annotated[str | None, Field(description="Only tasks with these words in title, error or data.")]
Batch = Annotated[str | None, Field(description="Only tasks of this batch.")]
Why = Annotated[str, Field(description="The reason, in a sentence; kept for ever.", min_length=1, max_length=2_000)]
Ids = Annotated[list[str] | None, Field(description="These tasks; with a filter, those of them that match.")]
DryRun = Annotated[bool, Field(description="Only say what would be done.")]


class Tools:
    """The tools, as methods whose docstrings agents read. Errors of the API become errors of the tool."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def _ask(self, request: Callable[..., dict[str, Any]], *given: Any) -> str:
        """The answer of the API, asked in a thread so that the agent's pings are answered meanwhile."""
        try:
            return as_data(await asyncio.to_thread(request, *given))
        except ServiceError as error:
            raise ToolError(as_data({"error": error.message, "code": error.code})) from error

    async def whoami(self) -> str:
        """Say which key asks, its role and its scope: what the changing tools may do."""
        return await self._ask(self._api.get, "/whoami")

    async def list_tasks(
        self,
        status: Status = None,
        platform: Platform = None,
        account_id: Account = None,
        created_after: After = None,
        created_before: Before = None,
        error_class: Kind = None,
        cause: Cause = None,
        q: Words = None,
        batch_id: Batch = None,
        limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 20,
        cursor: Annotated[str | None, Field(description="`next_cursor` of the page before.")] = None,
    ) -> str:
        """List tasks, newest first, with the number of all that match. Every filter given must match."""
        wanted = _given(
            status=status, platform=platform, account_id=account_id, created_after=created_after,
            created_before=created_before, error_class=error_class, cause=cause, q=q, batch_id=batch_id,
        )  # fmt: skip
        return await self._ask(self._api.get, "/tasks", {**wanted, "limit": limit, "cursor": cursor})

    async def show_task(
        self,
        task_id: TaskId,
        wait_s: Annotated[float, Field(ge=0, le=LONGEST_WAIT_S, description="Wait so long for its end.")] = 0,
    ) -> str:
        """Show one task: its data, attempts with errors, evidence if its outcome is unknown, retries, decisions."""
        return await self._ask(self._api.get, f"/tasks/{task_path(task_id)}", {"wait": wait_s})

    async def list_failures(
        self,
        since: Annotated[str, Field(description="A time, or a span up to now such as 90m, 24h or 7d.")] = "24h",
        limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 20,
    ) -> str:
        """Group failed tasks by the cause of their errors, platform and account: what fails, how often, since when.

        The `cause` of a group is a filter of retry_tasks and list_tasks.
        """
        return await self._ask(self._api.get, "/failures", {"since": since, "limit": limit})

    async def show_counts(self) -> str:
        """Count all tasks by status and platform."""
        return await self._ask(self._api.get, "/tasks/stats")

    async def show_queue(self) -> str:
        """Show the queue's depth by priority, the living workers, and what due tasks wait for."""
        return await self._ask(self._api.get, "/tasks/health")

    async def list_platforms(self) -> str:
        """List the platforms and their limits."""
        return await self._ask(self._api.get, "/platforms")

    async def list_accounts(self, platform: Platform = None) -> str:
        """List registered accounts: which are held or blocked, and why. Their credentials are never shown."""
        return await self._ask(self._api.get, "/accounts", {"platform": platform})

    async def show_limits(self) -> str:
        """Show the limits of platforms and accounts, what is paused, and how many tasks wait for it."""
        return await self._ask(self._api.get, "/limits")

    async def show_operation(self, operation_id: Annotated[str, Field(min_length=1, max_length=64)]) -> str:
        """Show the progress of a change of many tasks that runs in the background."""
        return await self._ask(self._api.get, f"/operations/{task_path(operation_id)}")

    async def retry_task(
        self,
        task_id: TaskId,
        why: Why,
        force: Annotated[
            bool, Field(description="Also if it was, or may have been, published: it may appear twice.")
        ] = False,
    ) -> str:
        """Run a failed or cancelled task again, as a new task with its data. Repeating this makes no second one."""
        parameters = {"force": str(force).lower(), "why": why if force else None}
        return await self._ask(self._api.post, f"/tasks/retry/{task_path(task_id)}", None, parameters)

    async def cancel_task(
        self, task_id: TaskId, force: Annotated[bool, Field(description="Also if a worker runs it.")] = False
    ) -> str:
        """Cancel a task that waits. A running one is stopped only with force, if it is not too late."""
        return await self._ask(
            self._api.post, f"/tasks/cancel/{task_path(task_id)}", None, {"force": str(force).lower()}
        )

    async def retry_tasks(
        self,
        dry_run: DryRun,
        task_ids: Ids = None,
        status: Status = None,
        platform: Platform = None,
        account_id: Account = None,
        created_after: After = None,
        created_before: Before = None,
        error_class: Kind = None,
        cause: Cause = None,
        q: Words = None,
        batch_id: Batch = None,
    ) -> str:
        """Retry many tasks, by ids, by a filter, or both. Call it with dry_run=true first."""
        wanted = _given(
            status=status, platform=platform, account_id=account_id, created_after=created_after,
            created_before=created_before, error_class=error_class, cause=cause, q=q, batch_id=batch_id,
        )  # fmt: skip
        return await self._bulk("retry", dry_run, task_ids, wanted)

    async def cancel_tasks(
        self,
        dry_run: DryRun,
        task_ids: Ids = None,
        status: Status = None,
        platform: Platform = None,
        account_id: Account = None,
        created_after: After = None,
        created_before: Before = None,
        q: Words = None,
        batch_id: Batch = None,
    ) -> str:
        """Cancel many waiting tasks, by ids, by a filter, or both. Call it with dry_run=true first."""
        wanted = _given(
            status=status, platform=platform, account_id=account_id, created_after=created_after,
            created_before=created_before, q=q, batch_id=batch_id,
        )  # fmt: skip
        return await self._bulk("cancel", dry_run, task_ids, wanted)

    async def resolve_task(
        self,
        task_id: TaskId,
        decision: Annotated[
            Literal["succeeded", "send_again"],
            Field(description="succeeded: the post is there. send_again: it is not, so it is sent as a new task."),
        ],
        why: Why,
        provider_post_id: Annotated[str | None, Field(description="The platform's id of the post.")] = None,
        publish_url: Annotated[str | None, Field(description="Where the post can be seen.")] = None,
    ) -> str:
        """Decide about a task of unknown outcome, after a person has looked at the platform. It is kept for ever."""
        body = _given(
            decision=decision, why=why, by="agent", provider_post_id=provider_post_id, publish_url=publish_url
        )
        return await self._ask(self._api.post, f"/tasks/{task_path(task_id)}/resolve", body)

    async def _bulk(self, verb: str, dry_run: bool, task_ids: list[str] | None, wanted: Mapping[str, Any]) -> str:
        if not task_ids and not wanted:
            raise ToolError("Name tasks, or give at least one filter: without both, this would change all tasks.")
        body = _given(dry_run=dry_run, task_ids=task_ids or None, filter=wanted or None)
        return await self._ask(self._api.post, f"/tasks/batch/{verb}", body)


READING = (
    "whoami", "list_tasks", "show_task", "list_failures", "show_counts", "show_queue", "list_platforms",
    "list_accounts", "show_limits", "show_operation",
)  # fmt: skip
CHANGING = ("retry_task", "cancel_task", "resolve_task", "retry_tasks", "cancel_tasks")


def serve_tools(api: Api, *, read_only: bool) -> None:
    """Serve until standard input ends."""
    server: MCPServer[Any] = MCPServer(
        "everpost", title="Everpost", instructions=INSTRUCTIONS, version=running_version(), log_level="WARNING"
    )
    tools = Tools(api)
    for name in (*READING, *(() if read_only else CHANGING)):
        annotations = READS if name in READING else CHANGES
        server.tool(name=name, annotations=annotations, structured_output=False)(getattr(tools, name))
    server.run("stdio")


def _given(**fields: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}
