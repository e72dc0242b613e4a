"""An agent: starts `everpost mcp` as the official client of the SDK does, calls tools, and prints what it was told.

It runs in the environment of `make mcp`. Its argument is JSON: {"arguments": [...], "calls": [[tool, {...}], ...]}.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from mcp import ClientSession, StdioServerParameters, stdio_client


async def act(wanted: dict[str, Any]) -> dict[str, Any]:
    command = str(Path(sys.executable).with_name("everpost"))
    server = StdioServerParameters(command=command, args=["mcp", *wanted["arguments"]], env=dict(os.environ))
    async with stdio_client(server) as (reading, writing), ClientSession(reading, writing) as session:
        begun = await session.initialize()
        tools = (await session.list_tools()).tools
        answers = []
        for name, arguments in wanted["calls"]:
            answer = await session.call_tool(name, arguments)
            told = answer.model_dump(mode="json", by_alias=True)
            answers.append({"is_error": told.get("isError", False), "text": told["content"][0]["text"]})
        return {
            "instructions": begun.instructions,
            "tools": {tool.name: tool.model_dump(mode="json", by_alias=True) for tool in tools},
            "answers": answers,
        }


sys.stdout.write(json.dumps(asyncio.run(act(json.loads(sys.argv[1])))))
