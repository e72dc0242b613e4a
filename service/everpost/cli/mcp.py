"""`everpost mcp`: Everpost's tools for agents, by the Model Context Protocol over standard input and output."""

import click

from everpost.cli.client import Api
from everpost.cli.options import url_option
from everpost.errors import SettingsError

TIMEOUT_S = 70.0

EXAMPLES = """\b
Example, as an agent's configuration has it:
  {"mcpServers": {"everpost": {
    "command": "everpost", "args": ["mcp", "--url", "http://127.0.0.1:8000"],
    "env": {"EVERPOST_KEY": "evp_..."}}}}
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--read-only", is_flag=True, help="Offer no tool that changes anything, even if the key may change tasks."
)
@url_option
def mcp(read_only: bool, url: str | None) -> None:
    """Serve tools for agents over standard input and output (Model Context Protocol), until the input ends.

    An agent looks at tasks, failures, accounts and queues, and retries, cancels and decides. It asks the running API
    with EVERPOST_KEY, and may do what that key may do. It needs the extra: pip install 'everpost[mcp]', best in an
    environment of its own.
    """
    try:
        from everpost.cli.mcp_server import serve_tools  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"mcp", "pydantic", "anyio"}:
            raise
        raise SettingsError("The SDK is not installed: pip install 'everpost[mcp]'") from error
    with Api.open(url, TIMEOUT_S) as api:
        serve_tools(api, read_only=read_only)
